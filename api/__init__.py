"""The API: people's door and the agents' door."""

import cardflow  # noqa: F401 first of all, so that the rest loads faster
