"""`cardflow audit`: reading the audit trail and checking its chain."""

from cyclopts import App

from cardflow.errors import Refused
from cli.output import show_list, show_record, working
from cli.sessions import HERE, Connection

app = App(name="audit", help="The audit trail, and the check that nothing in it was changed.")
COLUMNS = ("number", "at", "kind", "actor", "update_id", "text")


@app.command(name="list")
def list_entries(
    *, update: str = "", kind: str = "", actor: str = "", connection: Connection = HERE
) -> None:
    """List audit entries, of one update, kind or person."""
    with connection.open() as api:
        found = api.items("/audit", update=update, kind=kind, actor=actor)
        show_list(found, COLUMNS, as_json=connection.json)


@app.command
def verify(*, connection: Connection = HERE) -> None:
    """Check every link of the chain; fails if one is missing or was changed."""
    with connection.open() as api, working("checking the chain"):
        found = api.get("/audit/verify")
    show_record(found, as_json=connection.json)
    if not found["ok"]:
        raise Refused(
            f"the audit chain is broken at entry {found['broken_at']}: {found['reason']}\n"
            "  → keep a copy of the database and see docs/runbooks"
        )
