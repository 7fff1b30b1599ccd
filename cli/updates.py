"""`cardflow updates`: opening card updates, following them, and handing in what they wait for."""

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from cardflow.lifecycle import ENDED
from cardflow.model import Means
from cli.cards import find_card
from cli.client import Upload
from cli.output import console, save, say, show_json, show_list, show_record, working
from cli.sessions import HERE, Connection

app = App(name="updates", help="Card updates: open, follow, sign, continue, cancel.")
COLUMNS = ("id", "stage", "kind", "holder", "policy_name", "opened_at", "due_at", "waiting")
LANE_COLUMNS = ("lane", "mode", "label", "stage", "since", "signing", "reason", "attention", "may")
WAITING_COLUMNS = ("party", "what", "lane", "since", "until")
TIMELINE_COLUMNS = ("number", "at", "kind", "lane", "actor", "facts")
MAIL_COLUMNS = ("subject", "address", "state", "sent_at", "error")
DOCUMENT_COLUMNS = ("lane", "kind", "direction", "state", "means", "created_at", "id")
Several = Annotated[tuple[str, ...], Parameter(negative="")]


@app.command(name="list")
def list_updates(
    *,
    stage: str = "",
    card: str = "",
    open_only: Annotated[bool, Parameter(name="--open", negative="")] = False,
    connection: Connection = HERE,
) -> None:
    """List updates, the newest first."""
    with connection.open() as api:
        card_id = find_card(api, card)["id"] if card else None
        found = api.items("/updates", stage=stage, card=card_id, open=open_only or None)
        rows = found if connection.json else map(_line, found)
        show_list(rows, COLUMNS, as_json=connection.json)


@app.command
def show(update: str, /, *, connection: Connection = HERE) -> None:
    """Show one update: its lanes, and who it waits for, since when, until when."""
    with connection.open() as api:
        found = api.get(f"/updates/{update}")
    if connection.json:
        return show_json(found)
    facts = {key: value for key, value in found.items() if key not in ("lanes", "waiting")}
    show_record(facts, as_json=False)
    console.print()
    show_list(found["lanes"], LANE_COLUMNS, as_json=False)
    console.print()
    return show_list(found["waiting"], WAITING_COLUMNS, as_json=False)


@app.command
def plan(
    card: str,
    /,
    *,
    optional: Several = (),
    third_party: Several = (),
    connection: Connection = HERE,
) -> None:
    """Show what an update would add, replace, keep and remove, and its digest.

    Parameters
    ----------
    card
        Token serial or id.
    optional
        An optional profile to add; may be repeated.
    third_party
        SHA-256 of a third-party certificate to register; may be repeated.
    """
    with connection.open() as api:
        path = f"/cards/{find_card(api, card)['id']}/plan"
        found = api.get(path, optional=optional, third_party=third_party)
    if connection.json:
        return show_json(found)
    what = found["plan"]
    show_list(what["lanes"], ("lane", "mode", "key_type", "mandatory", "why"), as_json=False)
    kept = [f"{one['subject']} until {one['not_after'][:10]}" for one in what["keeps"]]
    gone = {key: [ref["cka_id"] for ref in what[key]] for key in ("removes", "registers")}
    rest = {"keeps": kept, **gone, "objections": what["objections"], "digest": found["digest"]}
    return show_record(rest, as_json=False)


@app.command(name="open")
def open_update(
    card: str,
    /,
    *,
    optional: Several = (),
    third_party: Several = (),
    digest: str = "",
    connection: Connection = HERE,
) -> None:
    """Open a card update; a holder's starts at the workstation at once and asks for the PIN there.

    For example:

        cardflow updates open 5f3a9c01d2e4b678 --optional tls-client

    Parameters
    ----------
    card
        Token serial or id.
    optional
        An optional profile to add; may be repeated.
    third_party
        SHA-256 of a third-party certificate to register; may be repeated.
    digest
        The digest of the plan you saw; default: of the plan as it is now.
    """
    chosen = {"optional": list(optional), "third_party": list(third_party)}
    with connection.open() as api:
        path = f"/cards/{find_card(api, card)['id']}"
        seen = digest or api.get(f"{path}/plan", **chosen)["digest"]
        opened = api.post(f"{path}/updates", {**chosen, "plan_digest": seen})
        _show_answer(opened, as_json=connection.json)


@app.command(name="continue")
def continue_update(update: str, /, *, connection: Connection = HERE) -> None:
    """Start the next visit at your workstation; the prompt there shows the same code as here."""
    with connection.open() as api:
        _show_answer(api.post(f"/updates/{update}/continue"), as_json=connection.json)


@app.command
def cancel(update: str, /, *, reason: str, connection: Connection = HERE) -> None:
    """Cancel an update; everything old on the card stays and works."""
    with connection.open() as api:
        answer = api.post(f"/updates/{update}/cancel", {"reason": reason})
        _show_answer(answer, as_json=connection.json)


@app.command
def retry(update: str, /, *, connection: Connection = HERE) -> None:
    """Try again what needed attention."""
    with connection.open() as api:
        _show_answer(api.post(f"/updates/{update}/retry"), as_json=connection.json)


@app.command
def form(
    update: str,
    lane: str,
    /,
    *,
    output: Path | None = None,
    language: str = "",
    connection: Connection = HERE,
) -> None:
    """Fetch the form to print and sign, as PDF.

    For example:

        cardflow updates form 0192… smart-card-logon --output form.pdf
    """
    with connection.open() as api:
        save(api.content(f"/updates/{update}/lanes/{lane}/form", language=language), output)


@app.command
def upload(
    update: str,
    lane: str,
    file: Path | None = None,
    /,
    *,
    means: Means | None = None,
    note: str = "",
    connection: Connection = HERE,
) -> None:
    """Hand in a signed form: a scan (PDF, JPEG, PNG), or as an operator what came by other means.

    For example:

        cardflow updates upload 0192… smart-card-logon scan.pdf
        cardflow updates upload 0192… smart-card-logon --means post --note "letter of 3 May"
    """
    fields = {"means": means.value if means else "", "note": note}
    fields = {name: value for name, value in fields.items() if value}
    scan = Upload.of(file) if file else None
    with connection.open() as api, working("uploading"):
        answer = api.upload(f"/updates/{update}/lanes/{lane}/documents", scan, fields)
    show_record(answer, as_json=connection.json)


@app.command
def sign(update: str, lane: str, /, *, language: str = "", connection: Connection = HERE) -> None:
    """Sign the form with your card instead of on paper; the prompt shows the same code as here.

    For example:

        cardflow updates sign 0192… smart-card-logon
    """
    wish = {"language": language} if language else {}
    with connection.open() as api:
        answer = api.post(f"/updates/{update}/lanes/{lane}/signature", wish)
    _show_answer(answer, as_json=connection.json)


@app.command
def withdraw(update: str, lane: str, document: str, /, *, connection: Connection = HERE) -> None:
    """Take back a document that is still under check."""
    with connection.open() as api:
        api.delete(f"/updates/{update}/lanes/{lane}/documents/{document}")
    say("the document is taken back")


@app.command
def documents(update: str, /, *, connection: Connection = HERE) -> None:
    """List the documents of an update: forms that went out and what came in."""
    with connection.open() as api:
        found = api.items(f"/updates/{update}/documents")
        show_list(found, DOCUMENT_COLUMNS, as_json=connection.json)


@app.command
def document(
    document: str, /, *, output: Path | None = None, connection: Connection = HERE
) -> None:
    """Fetch one document, exactly as it came in."""
    with connection.open() as api:
        save(api.content(f"/documents/{document}/content"), output)


@app.command
def timeline(update: str, /, *, connection: Connection = HERE) -> None:
    """Show what happened, in order."""
    with connection.open() as api:
        found = api.items(f"/updates/{update}/timeline")
        show_list(found, TIMELINE_COLUMNS, as_json=connection.json)


@app.command
def mails(update: str, /, *, connection: Connection = HERE) -> None:
    """Show the mails that an update sent, and any that failed."""
    with connection.open() as api:
        found = api.items(f"/updates/{update}/mails")
        show_list(found, MAIL_COLUMNS, as_json=connection.json)


@app.command
def watch(update: str, /, *, every: float = 1.0, connection: Connection = HERE) -> None:
    """Follow an update until it ends, one line per change.

    Parameters
    ----------
    update
        The update's id.
    every
        Seconds between two looks.
    """
    seen = ""
    with connection.open() as api:
        while True:
            found = api.get(f"/updates/{update}")
            if (line := _summary(found)) != seen:
                console.print(line, markup=False)
                seen = line
            if found["stage"] in ENDED:
                return
            time.sleep(every)


def _line(update: dict[str, Any]) -> dict[str, Any]:
    waits = [f"{entry['party']}: {entry['what']}" for entry in update["waiting"]]
    return {**update, "waiting": ", ".join(dict.fromkeys(waits))}


def _summary(update: dict[str, Any]) -> str:
    waits = "; ".join(f"{w['party']}: {w['what']} {w['lane']}".strip() for w in update["waiting"])
    return f"{update['stage']}{' – waits for ' if waits else ''}{waits}"


def _show_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    short = {key: value for key, value in answer.items() if key != "update"}
    show_record(answer if as_json else short, as_json=as_json)
