"""Sign-ins at a terminal: kept for their owner alone, and never mixed up."""

from pathlib import Path

import pytest

from cardflow.errors import Refused
from cli.sessions import Connection, Place, Session, find, forget, remember

OPEN_UNTIL = "2999-01-01T00:00:00+00:00"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Place().file


def session(login: str, *, until: str = OPEN_UNTIL) -> Session:
    return Session(login, "http://localhost:1", f"cfs_{login}", until)


def test_sessions_are_kept_in_a_file_that_only_its_owner_reads(place: Path) -> None:
    remember(session("olga"), place)
    remember(session("otto"), place)

    assert place.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in place.parent.iterdir()] == [place.name]


def test_who_signed_in_last_is_meant_unless_somebody_is_named(place: Path) -> None:
    remember(session("olga"), place)
    remember(session("otto"), place)

    assert find("", place) == session("otto")
    assert find("olga", place) == session("olga")
    assert find("nobody", place) is None


def test_a_forgotten_session_leaves_the_others(place: Path) -> None:
    remember(session("olga"), place)
    remember(session("otto"), place)

    forget("otto", place)

    assert find("", place) == session("olga")
    assert "cfs_otto" not in place.read_text()


def test_nobody_signed_in_is_told_how_to(place: Path) -> None:
    assert not place.exists()
    with pytest.raises(Refused, match="cardflow login"):
        Connection().open()


def test_a_session_that_is_over_is_not_used(place: Path) -> None:
    remember(session("olga", until="2020-01-01T00:00:00+00:00"), place)

    with pytest.raises(Refused, match="session has ended"):
        Connection().open()


def test_a_token_is_never_sent_to_another_address(place: Path) -> None:
    remember(session("olga"), place)

    with pytest.raises(Refused, match="not at http://elsewhere"):
        Connection(url="http://elsewhere").open()


def test_a_damaged_file_is_refused_with_the_remedy(place: Path) -> None:
    remember(session("olga"), place)
    place.write_text("{")

    with pytest.raises(Refused, match="delete it and sign in again"):
        Connection().open()


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("cft_x")
    file.chmod(0o644)

    with pytest.raises(Refused, match="chmod 600"):
        Connection(token_file=file).open()
