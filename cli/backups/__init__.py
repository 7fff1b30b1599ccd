"""A copy of everything that an installation is, and the way back; used by `cli.backup` alone."""
