"""`cardflow agent`: enrolling, confirming and revoking the agents on workstations."""

from cyclopts import App

from cardflow.errors import Refused
from cli.client import Api
from cli.output import say, show_list, show_record
from cli.people import find_person
from cli.sessions import HERE, Connection

app = App(name="agent", help="The card agents on workstations.")
COLUMNS = ("host", "state", "connected", "words", "version", "seen_at", "person_id", "id")


@app.command
def code(*, person: str = "", connection: Connection = HERE) -> None:
    """Make a one-time code for enrolling an agent; it is good for 15 minutes.

    Type it on the workstation: `python -m agent enrol`.

    Parameters
    ----------
    person
        Whose workstation it is, by login or id (admins only); default: your own.
    """
    with connection.open() as api:
        body = {"person_id": find_person(api, person)["id"]} if person else {}
        show_record(api.post("/agents/codes", body), as_json=connection.json)


@app.command(name="list")
def list_agents(*, connection: Connection = HERE) -> None:
    """List the agents you may see, with the words that their workstations show."""
    with connection.open() as api:
        show_list(api.items("/agents"), COLUMNS, as_json=connection.json)


@app.command
def confirm(agent: str, words: str, /, *, connection: Connection = HERE) -> None:
    """Confirm an agent: type the six words that the workstation shows.

    For example:

        cardflow agent confirm 0192… "apple river stone cloud maple train"
    """
    with connection.open() as api:
        answer = api.post(f"/agents/{agent}/confirm", {"words": words})
        show_record(answer, as_json=connection.json)


@app.command
def revoke(agent: str, /, *, connection: Connection = HERE) -> None:
    """Shut an agent out, within seconds and for ever."""
    with connection.open() as api:
        _known(api, agent)
        api.post(f"/agents/{agent}/revoke")
    say(f"agent {agent} is revoked")


def _known(api: Api, agent: str) -> None:
    if agent not in {found["id"] for found in api.items("/agents")}:
        raise Refused(f"there is no agent {agent}\n  → see: cardflow agent list")
