"""Looking for what must not be there: every encoding, every wrapping, every kind of store."""
