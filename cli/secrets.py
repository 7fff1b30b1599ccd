"""`python -m cli.secrets`: makes the secrets of a production installation, and changes keys."""

import sys
from collections.abc import Sequence

from cyclopts import App

from cardflow.errors import CardflowError
from cardflow.secret_files import is_demo
from cardflow.settings import Settings, read_settings
from cli.key_changes import change_decision_key, change_job_key
from cli.local_secrets import Maker, make_own_secrets
from cli.output import say

OFFLINE = ("decision-root-key.pem", "ca-root-passphrase")

app = App(
    name="python -m cli.secrets", help="Secrets of an installation.", result_action="return_value"
)


@app.default
def make() -> None:
    """Leave the missing secrets in the files that the settings name; say what belongs offline."""
    settings = read_settings()
    make_own_secrets(settings, Maker(marked=False))
    directory = settings.decision_key_file.parent
    say(f"secrets are in {directory}; keep a copy in a safe place")
    for name in OFFLINE:
        say(f"take {directory / name} offline: it is needed for renewals only")


@app.command
def change_job() -> None:
    """Change the key that signs jobs for agents; they follow by themselves."""
    say(change_job_key(read_settings()))


@app.command
def change_decision() -> None:
    """Change the key that signs people's decisions; the root's key must be at hand."""
    settings = read_settings()
    say(change_decision_key(settings, _maker(settings)))


def _maker(settings: Settings) -> Maker:
    return Maker(marked=is_demo(settings.decision_key_file))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    try:
        app(arguments)
    except CardflowError as error:
        say(f"✗ {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
