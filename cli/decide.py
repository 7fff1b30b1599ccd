"""`cardflow decide`: an operator's word on a document, a CA officer's word on a request."""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.prompt import Confirm

from cardflow.errors import Refused
from cardflow.model import Verdict
from cli.client import Api
from cli.output import progress_console, show_record
from cli.sessions import HERE, Connection

app = App(name="decide", help="Decide on documents (operators) and on requests (CA officers).")
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="")]


@app.command
def document(
    update: str,
    lane: str,
    verdict: Verdict,
    /,
    *,
    reason: str = "",
    digest: str = "",
    yes: Yes = False,
    connection: Connection = HERE,
) -> None:
    """Approve or reject the document that a lane hands in; a rejection needs a reason.

    For example:

        cardflow decide document 0192… smart-card-logon approve
        cardflow decide document 0192… smart-card-logon reject --reason "the signature is missing"

    Parameters
    ----------
    digest
        The digest of what you saw; default: what is there now, after you confirm it.
    yes
        Do not ask for confirmation.
    """
    with connection.open() as api:
        path = f"/updates/{update}/lanes/{lane}/decisions"
        shown = lane_shown(api, update, lane)
        _decide(api, path, shown, Word(verdict, reason, digest, yes), connection)


@app.command
def request(
    request: str,
    verdict: Verdict,
    /,
    *,
    reason: str = "",
    digest: str = "",
    yes: Yes = False,
    connection: Connection = HERE,
) -> None:
    """Approve or reject a request at the CA; a rejection needs a reason.

    For example:

        cardflow decide request 0192… approve

    Parameters
    ----------
    digest
        The digest of what you saw; default: what is there now, after you confirm it.
    yes
        Do not ask for confirmation.
    """
    with connection.open() as api:
        shown = api.get(f"/ca/requests/{request}")
        path = f"/ca/requests/{request}/decisions"
        _decide(api, path, shown, Word(verdict, reason, digest, yes), connection)


@dataclass(frozen=True)
class Word:
    """What somebody wants to say, about what, and whether they are sure."""

    verdict: Verdict
    reason: str
    digest: str
    sure: bool


def lane_shown(api: Api, update: str, lane: str) -> dict[str, Any]:
    """Return the lane as the API shows it, with the digest that a decision must name."""
    found: dict[str, Any]
    for found in api.get(f"/updates/{update}")["lanes"]:
        if found["lane"] == lane:
            return found
    raise Refused(f"the update has no lane {lane}\n  → see: cardflow updates show {update}")


def _decide(api: Api, path: str, shown: dict[str, Any], word: Word, connection: Connection) -> None:
    if not (word.sure or word.digest):
        show_record(_without_texts(shown), as_json=False)
        if not Confirm.ask(f"{word.verdict.capitalize()} this?", console=progress_console):
            raise Refused("nothing was decided")
    digest = word.digest or shown["decision_digest"]
    body = {"verdict": word.verdict, "reason": word.reason, "digest": digest}
    show_record(api.post(path, body), as_json=connection.json)


def _without_texts(shown: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shown.items() if not key.endswith("_pem")}
