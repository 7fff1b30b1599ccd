"""What an installation is for, and where it says so; light enough for a PIN prompt to import."""

from enum import StrEnum

PREFIX = "CARDFLOW_"  # of every setting in the process's environment
SETTINGS_FILE = "cardflow.toml"


class Environment(StrEnum):
    """What the installation is for."""

    DEMO = "demo"
    PRODUCTION = "production"


BY_DEFAULT = Environment.DEMO
