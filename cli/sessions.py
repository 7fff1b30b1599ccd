"""Who is signed in at this terminal: session tokens in one file that only its owner can read."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic_settings import BaseSettings, SettingsConfigDict

from cardflow.errors import Refused
from cardflow.secret_files import read_secret, write_secret
from cli.client import Api


class Place(BaseSettings):
    """Where this person's files are kept (XDG base directories), and which API is meant."""

    model_config = SettingsConfigDict(frozen=True)

    xdg_config_home: Path = Path("~/.config")
    cardflow_public_url: str = "http://localhost:8000"

    @property
    def url(self) -> str:
        return self.cardflow_public_url

    @property
    def file(self) -> Path:
        return self.xdg_config_home.expanduser() / "cardflow" / "sessions.json"


@dataclass(frozen=True)
class Session:
    """One signed-in person at one API."""

    login: str
    url: str
    token: str
    expires_at: str

    @property
    def is_over(self) -> bool:
        return datetime.fromisoformat(self.expires_at) <= datetime.now(UTC)


def remember(session: Session, place: Path) -> None:
    """The session is kept and is the one that commands use from now on."""
    kept = {**_all(place), session.login: session}
    _write(place, session.login, kept)


def forget(login: str, place: Path) -> None:
    """Nothing of the session is kept here."""
    kept = {name: session for name, session in _all(place).items() if name != login}
    _write(place, next(iter(kept), ""), kept)


def find(login: str, place: Path) -> Session | None:
    """Return the session of ``login``, or the current one when no login is named."""
    return _all(place).get(login or _stored(place).get("current", ""))


def _all(place: Path) -> dict[str, Session]:
    return {login: Session(**kept) for login, kept in _stored(place).get("people", {}).items()}


def _stored(place: Path) -> dict[str, Any]:
    if not place.exists():
        return {}
    try:
        stored = json.loads(read_secret(place))
    except ValueError:
        raise Refused(f"{place} is damaged; delete it and sign in again: cardflow login") from None
    return stored if isinstance(stored, dict) else {}


def _write(place: Path, current: str, kept: dict[str, Session]) -> None:
    people = {login: asdict(session) for login, session in kept.items()}
    new = place.with_name(f"{place.name}.{os.getpid()}")
    write_secret(new, json.dumps({"current": current, "people": people}, indent=1).encode())
    new.replace(place)


@Parameter(name="*")
@dataclass(frozen=True)
class Connection:
    """Which API, who asks, and how the answer is shown."""

    url: str = ""
    "The API's address; default: the one you signed in to."
    login: Annotated[str, Parameter(name="--as")] = ""
    "Ask as this signed-in person; default: whoever signed in last."
    token_file: Path | None = None
    "A file (mode 0600) with an API token, instead of a session."
    json: Annotated[bool, Parameter(negative="")] = False
    "Print the answer as JSON."

    def open(self) -> Api:
        """Return the API as the person sees it, or refuse with how to sign in."""
        place = Place()
        if self.token_file:
            return Api(self.url or place.url, read_secret(self.token_file).decode().strip())
        session = find(self.login, place.file)
        if session is None or session.is_over:
            raise Refused(f"{self._why_not(session)}\n  → sign in: cardflow login {self.login}")
        if self.url and self.url != session.url:
            raise Refused(
                f"{session.login} is signed in at {session.url}, not at {self.url}\n"
                f"  → sign in there: cardflow login {session.login} --url {self.url}"
            )
        return Api(session.url, session.token)

    def _why_not(self, session: Session | None) -> str:
        if session is not None:
            return f"{session.login}'s session has ended"
        return f"{self.login} is not signed in here" if self.login else "nobody is signed in here"


HERE = Connection()
