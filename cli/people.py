"""`cardflow people`: the register of people, for admins."""

from getpass import getpass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from cardflow.errors import Refused
from cardflow.model import Role
from cardflow.secret_files import read_secret
from cli.client import Api
from cli.csv_parts import parts_of
from cli.output import in_turn, read_text, say, show_json, show_list, show_record
from cli.sessions import HERE, Connection

app = App(name="people", help="The register of people: holders, operators, officers, admins.")
COLUMNS = ("login", "name", "email", "roles", "active", "id")
REFUSED_COLUMNS = ("line", "field", "reason")


@app.command(name="list")
def list_people(*, connection: Connection = HERE) -> None:
    """List everybody you may see."""
    with connection.open() as api:
        show_list(api.items("/people"), COLUMNS, as_json=connection.json)


@app.command
def show(person: str, /, *, connection: Connection = HERE) -> None:
    """Show one person, by login or id."""
    with connection.open() as api:
        show_record(find_person(api, person), as_json=connection.json)


@app.command
def add(
    login: str,
    name: str,
    /,
    *,
    email: str,
    role: Annotated[list[Role], Parameter(negative="")],
    given_name: str = "",
    surname: str = "",
    upn: str = "",
    sid: str = "",
    organization: str = "",
    language: str = "en",
    password_file: Path | None = None,
    connection: Connection = HERE,
) -> None:
    """Add a person; the password is asked for, or read from a file, and must be changed at sign-in.

    For example:

        cardflow people add olga "Olga Brandt" --email olga@example.org --role operator

    Parameters
    ----------
    login
        What the person signs in with.
    name
        The name on forms and in certificates.
    role
        holder, operator, officer, admin, auditor or service; may be repeated.
    upn
        User principal name, for smart-card logon.
    sid
        Security identifier, for smart-card logon.
    password_file
        A file (mode 0600) with the first password, instead of being asked.
    """
    person: dict[str, Any] = {
        "login": login,
        "name": name,
        "email": email,
        "roles": list(role),
        "given_name": given_name,
        "surname": surname,
        "upn": upn,
        "sid": sid,
        "organization": organization,
        "language": language,
    }
    password = _first_password(login, password_file)
    with connection.open() as api:
        added = api.post("/people", person)
        api.post(f"/people/{added['id']}/password", {"password": password})
        show_record(added, as_json=connection.json)


@app.command(name="first-admin")
def first_admin(
    login: str,
    name: str,
    /,
    *,
    password_file: Path | None = None,
    state: Path | None = None,
) -> None:
    """Make the first administrator, on the machine that Cardflow runs on; once, before all others.

    For example:

        cardflow people first-admin ada "Ada Holm"

    Parameters
    ----------
    password_file
        A file (mode 0600) with the password, instead of being asked.
    state
        The state directory; default: CARDFLOW_STATE_DIR, else var.
    """
    import asyncio

    from cardflow.settings import load_settings
    from cli.first_admin import make_first_admin  # the database loads slowly

    password = _first_password(login, password_file)
    asyncio.run(make_first_admin(load_settings(state), login, name, password))
    say(f"{login} is the first administrator\n  → sign in: cardflow login {login}")


@app.command(name="import")
def import_people(file: Path, /, *, connection: Connection = HERE) -> None:
    """Import people from a CSV file; bad rows are refused by line, the others are taken.

    The first line names the columns: login and name, and any of given_name, surname, email, upn,
    sid, organization, language and roles. Who is known by their login is changed.

    For example:

        cardflow people import staff.csv
    """
    import_csv("/people/import", file, connection)


@app.command
def password(person: str, /, *, file: Path | None = None, connection: Connection = HERE) -> None:
    """Give somebody a new password, to be changed at the next sign-in.

    Parameters
    ----------
    person
        Login or id.
    file
        A file (mode 0600) with the password, instead of being asked.
    """
    new = _first_password(person, file)
    with connection.open() as api:
        found = find_person(api, person)
        api.post(f"/people/{found['id']}/password", {"password": new})
    say(f"{found['login']} has a new password")


def find_person(api: Api, wanted: str) -> dict[str, Any]:
    """Return the person with this login or id."""
    for person in api.items("/people"):
        if wanted in (person["login"], person["id"]):
            return person
    raise Refused(f"there is nobody called {wanted}\n  → see: cardflow people list")


def import_csv(path: str, file: Path, connection: Connection) -> None:
    """Send a CSV file in parts, show what came of it, and fail if a line was refused."""
    parts = parts_of(read_text(file))
    answer: dict[str, Any] = {"created": 0, "updated": 0, "refused": []}
    with connection.open() as api:
        for part in in_turn(parts, f"importing {file}"):
            done = api.post_text(path, part.text, "text/csv")
            answer["created"] += done["created"]
            answer["updated"] += done["updated"]
            answer["refused"] += [
                {**one, "line": part.line_of_file(one["line"])} for one in done["refused"]
            ]
    if connection.json:
        show_json(answer)
    else:
        say(f"{answer['created']} added, {answer['updated']} changed")
        if answer["refused"]:
            show_list(answer["refused"], REFUSED_COLUMNS, as_json=False)
    if refused := len(answer["refused"]):
        raise Refused(f"refused lines of {file}: {refused}\n  → correct them, import them again")


def _first_password(login: str, file: Path | None) -> str:
    if file is not None:
        return read_secret(file).decode().rstrip("\r\n")
    return getpass(f"A password for {login}: ")
