"""`cardflow policy`: immutable numbered versions, in and out as TOML."""

from pathlib import Path

from cyclopts import App

from cardflow.errors import Refused
from cli.client import Api, Problem
from cli.output import console, in_turn, read_text, save, say, show_json, show_list
from cli.sessions import HERE, Connection

app = App(name="policy", help="Policies: what cards must carry and which checks apply.")
COLUMNS = ("name", "version", "title", "created_at")
PROFILE_COLUMNS = ("name", "title", "purpose", "approval", "officers_needed", "validity_days")
TOML = "application/toml"
FORBIDDEN = 403


@app.command(name="list")
def list_policies(*, connection: Connection = HERE) -> None:
    """List the policies, each with its newest version."""
    with connection.open() as api:
        show_list(api.items("/policies"), COLUMNS, as_json=connection.json)


@app.command
def versions(name: str, /, *, connection: Connection = HERE) -> None:
    """List every version of one policy."""
    with connection.open() as api:
        show_list(api.items(f"/policies/{name}"), COLUMNS, as_json=connection.json)


@app.command
def profiles(*, connection: Connection = HERE) -> None:
    """List the kinds of certificates that a policy can ask for."""
    with connection.open() as api:
        show_list(api.items("/profiles"), PROFILE_COLUMNS, as_json=connection.json)


@app.command(name="import")
def import_policies(*files: Path, connection: Connection = HERE) -> None:
    """Import policies from TOML files; each becomes a new version, or is refused with every reason.

    For example:

        cardflow policy import policies/rf.toml policies/none.toml
    """
    if not files:
        raise Refused("no file was named\n  → cardflow policy import policies/rf.toml")
    texts = [(file, read_text(file)) for file in files]
    added, refused = [], []
    with connection.open() as api:
        for file, text in in_turn(texts, "importing"):
            try:
                added.append(api.post_text("/policies", text, TOML))
            except Problem as problem:
                if problem.status == FORBIDDEN:
                    raise
                refused.append(f"{file} was refused: {problem}")
    if connection.json:
        show_json(added)
    for one in added:
        say(f"{one['name']} version {one['version']}")
    if refused:
        raise Refused("\n✗ ".join(refused))


@app.command
def export(
    name: str,
    version: int | None = None,
    /,
    *,
    output: Path | None = None,
    connection: Connection = HERE,
) -> None:
    """Write one version of a policy as TOML, to a file or to standard output.

    For example:

        cardflow policy export rf 3 --output rf-3.toml

    Parameters
    ----------
    name
        The policy's name.
    version
        The version; default: the newest.
    output
        The file to write.
    """
    with connection.open() as api:
        number = version or _newest(api, name)
        save(api.content(f"/policies/{name}/{number}", accept=TOML), output)


@app.command
def show(name: str, version: int | None = None, /, *, connection: Connection = HERE) -> None:
    """Show one version of a policy; default: the newest."""
    with connection.open() as api:
        number = version or _newest(api, name)
        if connection.json:
            return show_json(api.get(f"/policies/{name}/{number}"))
        text = api.content(f"/policies/{name}/{number}", accept=TOML).decode()
        return console.print(text, markup=False)


def _newest(api: Api, name: str) -> int:
    numbers = [int(one["version"]) for one in api.items(f"/policies/{name}")]
    if not numbers:
        raise Refused(f"there is no policy {name}\n  → see: cardflow policy list")
    return max(numbers)
