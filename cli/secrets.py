"""`python -m cli.secrets`: makes the secrets of a production installation, once."""

import sys

from cardflow.errors import CardflowError
from cardflow.settings import read_settings
from cli.local_secrets import Maker, make_own_secrets
from cli.output import say

OFFLINE = ("decision-root-key.pem", "ca-root-passphrase")


def main() -> int:
    """Leave the missing secrets in the files that the settings name; say what belongs offline."""
    try:
        settings = read_settings()
        make_own_secrets(settings, Maker(marked=False))
    except CardflowError as error:
        say(f"✗ {error}")
        return 1
    directory = settings.decision_key_file.parent
    say(f"secrets are in {directory}; keep a copy in a safe place")
    for name in OFFLINE:
        say(f"take {directory / name} offline: it is needed for renewals only")
    return 0


if __name__ == "__main__":
    sys.exit(main())
