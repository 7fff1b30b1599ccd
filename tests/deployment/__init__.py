"""The deployment: files that are checked, and what of it can run here, run."""
