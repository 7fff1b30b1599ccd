"""Who may do what: every route asked as everybody, against a table written by hand."""
