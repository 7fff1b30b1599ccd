"""`cardflow login`, `logout`, `whoami`, `password`, `work`: what everybody needs."""

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.prompt import Prompt

from cardflow.errors import Refused
from cardflow.secret_files import read_secret
from cli.client import Api, Problem
from cli.output import progress_console, say, show_list, show_record
from cli.sessions import HERE, Connection, Place, Session, find, forget, remember

WORK_COLUMNS = ("what", "holder", "card", "lane", "since", "until", "update_id", "request_id")
PasswordFile = Annotated[Path | None, Parameter(name="--password-file")]


def add_to(app: App) -> None:
    """The commands are part of ``app``."""
    for command in (login, logout, whoami, work):
        app.command(command)
    app.command(change_password, name="password")


def login(login: str = "", /, *, url: str = "", password_file: PasswordFile = None) -> None:
    """Sign in; the session is kept in a file that only you can read.

    For example:

        cardflow login olga
        cardflow login olga --url https://cards.example

    Several people can be signed in at one terminal; `--as LOGIN` chooses.

    Parameters
    ----------
    login
        Your login; asked for when it is not given.
    url
        The API's address.
    password_file
        A file (mode 0600) with the password, instead of being asked.
    """
    place = Place()
    name = login or Prompt.ask("Login", console=progress_console)
    session = start_session(url or place.url, name, _password(password_file, f"{name}'s password"))
    remember(session, place.file)
    say(f"signed in as {name} at {session.url} until {session.expires_at[:16]}")


def start_session(url: str, name: str, password: str) -> Session:
    """Return a new session of ``name``."""
    with Api(url) as api:
        try:
            answer = _opened(api, {"login": name, "password": password})
        except Problem as problem:
            problem.args = (problem.detail,)  # "sign in" is no remedy for a failed sign-in
            raise
    return Session(name, url, answer["token"], answer["expires_at"])


def _opened(api: Api, body: dict[str, str]) -> Any:
    try:
        return api.post("/session", body)
    except Problem as problem:
        if problem.slug != "code-needed" or not sys.stdin.isatty():
            raise
    return api.post("/session", {**body, "code": Prompt.ask("Code", console=progress_console)})


def logout(*, connection: Connection = HERE) -> None:
    """End the session, here and at the API."""
    place = Place().file
    session = find(connection.login, place)
    if session is None:
        raise Refused("nobody is signed in here")
    try:
        with Api(session.url, session.token) as api:
            api.delete("/session")
    except Problem as problem:
        say(f"the API had ended it already: {problem.detail}")
    finally:
        forget(session.login, place)
    say(f"{session.login} is signed out")


def whoami(*, connection: Connection = HERE) -> None:
    """Show who you are and what you may do."""
    with connection.open() as api:
        show_record(api.get("/me"), as_json=connection.json)


def change_password(
    *,
    old_password_file: PasswordFile = None,
    new_password_file: Annotated[Path | None, Parameter(name="--new-password-file")] = None,
    connection: Connection = HERE,
) -> None:
    """Change your own password."""
    old = _password(old_password_file, "Old password")
    new = _password(new_password_file, "New password")
    if new_password_file is None and getpass("New password again: ") != new:
        raise Refused("the two new passwords differ; nothing was changed")
    with connection.open() as api:
        api.put("/me/password", {"old": old, "new": new})
    say("the password is changed")


def work(*, connection: Connection = HERE) -> None:
    """Show what waits for you: documents to sign or check, requests to decide, visits to make.

    For example:

        cardflow work --as olga
    """
    with connection.open() as api:
        items = api.items("/work")
        rows = items if connection.json else map(_with_serial, items)
        show_list(rows, WORK_COLUMNS, as_json=connection.json)


def _with_serial(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "card": item["card"]["token_serial"]}


def _password(file: Path | None, question: str) -> str:
    if file is not None:
        return read_secret(file).decode().rstrip("\r\n")
    return getpass(f"{question}: ")
