"""`cardflow`, also `python -m cli`: everything that people do, from a terminal."""

import sys
from collections.abc import Sequence

from cyclopts import App

from cardflow.errors import CardflowError
from cli import (
    agents,
    audit,
    backup,
    ca,
    cards,
    codec,
    decide,
    evidence,
    people,
    policy,
    reconcile,
    sign_in,
    updates,
)
from cli.demo import demo
from cli.output import say
from cli.stay_up import up

INTERRUPTED = 130  # 128 + SIGINT, as shells report it

app = App(
    name="cardflow",
    help="Card updates from the first click to the verified certificate on the card.",
    help_format="markdown",
    result_action="return_value",
)
sign_in.add_to(app)
for part in (ca, policy, people, cards, agents, updates, decide, audit, evidence, codec):
    app.command(part.app)
app.command(reconcile.command, name="reconcile")
app.command(backup.backup)
app.command(backup.restore)
app.command(demo)
app.command(up)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    try:
        answer = app(arguments)
    except CardflowError as error:
        say(f"✗ {error}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return answer if isinstance(answer, int) else 0


if __name__ == "__main__":
    sys.exit(main())
