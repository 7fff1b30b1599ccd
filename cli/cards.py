"""`cardflow cards`: the register of cards, what is on them, and clearing one."""

from pathlib import Path
from typing import Any

from cyclopts import App

from cardflow.errors import Refused
from cli.client import Api
from cli.output import show_json, show_list, show_record
from cli.people import find_person, import_csv
from cli.sessions import HERE, Connection

app = App(name="cards", help="The register of cards, and what is on them.")
COLUMNS = ("token_serial", "token_label", "state", "policy_name", "update_due", "holder_id", "id")
CERTIFICATE_COLUMNS = ("kind", "profile", "subject", "serial_number", "not_after", "has_key")
KINDS = ("managed", "tracked", "third_party", "missing")


@app.command(name="list")
def list_cards(*, connection: Connection = HERE) -> None:
    """List the cards you may see; a holder sees their own."""
    with connection.open() as api:
        show_list(api.items("/cards"), COLUMNS, as_json=connection.json)


@app.command
def show(card: str, /, *, connection: Connection = HERE) -> None:
    """Show one card, by token serial or id."""
    with connection.open() as api:
        show_record(find_card(api, card), as_json=connection.json)


@app.command
def contents(card: str, /, *, connection: Connection = HERE) -> None:
    """Show the certificates on a card, as last seen, and whether an update is due.

    For example:

        cardflow cards contents 5f3a9c01d2e4b678
    """
    with connection.open() as api:
        found = api.get(f"/cards/{find_card(api, card)['id']}/contents")
    if connection.json:
        return show_json(found)
    show_list(certificates_of(found), CERTIFICATE_COLUMNS, as_json=False)
    rest = {key: value for key, value in found.items() if key not in KINDS}
    return show_record(rest, as_json=False)


@app.command
def add(
    token_serial: str,
    /,
    *,
    label: str = "",
    holder: str = "",
    policy: str = "",
    connection: Connection = HERE,
) -> None:
    """Register a card.

    For example:

        cardflow cards add 5f3a9c01d2e4b678 --holder hanna --policy rf

    Parameters
    ----------
    token_serial
        The serial number that the card reports through PKCS#11.
    label
        The token's label.
    holder
        Login or id of the person who holds it.
    policy
        The policy that the card follows.
    """
    with connection.open() as api:
        card = {"token_serial": token_serial, "token_label": label, "policy_name": policy}
        if holder:
            card["holder_id"] = find_person(api, holder)["id"]
        show_record(api.post("/cards", card), as_json=connection.json)


@app.command(name="import")
def import_cards(file: Path, /, *, connection: Connection = HERE) -> None:
    """Import cards from a CSV file; bad rows are refused by line, the others are taken.

    The first line names the columns: token_serial, and any of token_label, manufacturer, model,
    holder (a login) and policy_name. A card that is known by its serial is changed.
    """
    import_csv("/cards/import", file, connection)


@app.command
def assign(
    card: str, /, *, holder: str = "", policy: str = "", connection: Connection = HERE
) -> None:
    """Give a card to a person, or put it under another policy.

    For example:

        cardflow cards assign 5f3a9c01d2e4b678 --holder hanna --policy rf
    """
    changes: dict[str, Any] = {"policy_name": policy} if policy else {}
    with connection.open() as api:
        if holder:
            changes["holder_id"] = find_person(api, holder)["id"]
        if not changes:
            raise Refused("nothing to change\n  → give --holder or --policy")
        changed = api.patch(f"/cards/{find_card(api, card)['id']}", changes)
        show_record(changed, as_json=connection.json)


@app.command
def clear(card: str, /, *, reason: str, confirm: str, connection: Connection = HERE) -> None:
    """Revoke every certificate of ours on a card and remove it; third-party objects stay.

    Parameters
    ----------
    card
        Token serial or id.
    reason
        Why; it stands in the audit trail.
    confirm
        The card's token serial once more.
    """
    with connection.open() as api:
        path = f"/cards/{find_card(api, card)['id']}/clear"
        show_record(api.post(path, {"reason": reason, "confirm": confirm}), as_json=connection.json)


def find_card(api: Api, wanted: str) -> dict[str, Any]:
    """Return the card with this token serial or id."""
    for card in api.items("/cards"):
        if wanted in (card["token_serial"], card["id"]):
            return card
    raise Refused(f"there is no card {wanted} that you may see\n  → see: cardflow cards list")


def certificates_of(contents: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every certificate on the card, each with its kind."""
    return [{"kind": kind, **found} for kind in KINDS for found in contents[kind]]
