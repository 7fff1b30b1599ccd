"""The demo's parts that need no server: its PIN prompt, its state, and how it reads tools."""

from pathlib import Path

import pytest

from api import planning
from cardflow.errors import Refused
from cardflow.secret_files import DEMO_MARKER, write_secret
from cli.client import Problem
from cli.demo_card import DemoCard
from cli.demo_proofs import objects_by_id
from cli.demo_state import SHORT_LIVED, fresh
from cli.demo_steps import UpdateRun
from cli.pinentry_demo import conversation, main
from cli.programs import expect, run

LISTING = """\
Certificate Object; type = X.509 cert
  label:      Parking badge
  subject:    DN: O=Parking House, CN=Parking badge 4711
  ID:         7041
Private Key Object; EC
  label:      logon
  ID:         aabb
Public Key Object; EC  EC_POINT 256 bits
  EC_POINT:   0441046669f36192
  ID:         aabb
"""


def test_the_pin_prompt_speaks_assuan(tmp_path: Path) -> None:
    shown = tmp_path / "prompts.txt"
    asked = ["SETDESC Card: A%0ACode: 12", "OPTION x", "GETPIN", "CONFIRM", "BYE", "GETPIN"]

    answers = list(conversation(asked, "123456", shown))

    assert answers[0].startswith("OK")
    assert answers[1:] == ["OK", "OK", "D 123456", "OK", "OK", "OK closing connection"]
    assert shown.read_text() == "Card: A\nCode: 12\n\n"


def test_the_pin_prompt_types_nothing_outside_a_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_secret(tmp_path / "pin", b"123456")

    assert main([str(tmp_path), str(tmp_path / "pin")]) == 1

    said = capsys.readouterr().out
    assert said.startswith("ERR ")
    assert "belongs to the demo only" in said
    assert "123456" not in said


def test_the_pin_prompt_refuses_a_production_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_secret(tmp_path / "pin", b"123456")
    (tmp_path / DEMO_MARKER).touch()
    (tmp_path / "cardflow.toml").write_text('environment = "production"\n')

    assert main([str(tmp_path), str(tmp_path / "pin")]) == 1
    assert "123456" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["CARDFLOW_ENVIRONMENT", "cardflow_environment"])
@pytest.mark.parametrize("said", ["production", ""])
def test_the_pin_prompt_hears_the_environment_as_the_settings_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    write_secret(tmp_path / "pin", b"123456")
    (tmp_path / DEMO_MARKER).touch()
    monkeypatch.setenv(name, said)

    assert main([str(tmp_path), str(tmp_path / "pin")]) == 1


def test_objects_are_read_from_what_pkcs11_tool_prints() -> None:
    assert objects_by_id(LISTING) == {
        "7041": ["Certificate"],
        "aabb": ["Private Key", "Public Key"],
    }


def test_a_directory_that_is_no_demo_is_not_wiped(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("work of years")

    with pytest.raises(Refused, match="something else than a demo"):
        fresh(tmp_path)
    assert (tmp_path / "precious").exists()


def test_a_program_that_fails_is_told_by_what_it_said() -> None:
    with pytest.raises(Refused, match=r"sh failed \(3\): no room"):
        expect(run("sh", "-c", "echo no room >&2; exit 3"))


def test_a_program_that_is_missing_is_told_with_the_remedy() -> None:
    with pytest.raises(Refused, match="make setup"):
        run("no-such-program")


def test_a_program_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "1")

    assert "CANARY" not in run("env").text


@pytest.mark.softhsm
def test_a_card_is_made_with_a_third_party_certificate(tmp_path: Path) -> None:
    card = DemoCard(tmp_path / "card", "Staff card")

    card.make()
    card.add_third_party_certificate()

    assert len(card.serial) == 16
    assert sorted(objects_by_id(card.objects())["7041"]) == ["Certificate", "Private Key"]
    assert card.certificate("7041")[:1] == b"\x30"
    assert card.certificate("7042") == b""
    assert not list(card.directory.glob("badge-key*"))


@pytest.mark.softhsm
def test_another_certificate_can_be_swapped_in(tmp_path: Path) -> None:
    card = DemoCard(tmp_path / "card", "Staff card")
    card.make()
    card.add_third_party_certificate()
    other = tmp_path / "o.pem"
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null")
    expect(run(*made, "-subj", "/CN=Other", "-out", str(other), "-outform", "DER"))

    card.swap_certificate("7041", other.read_bytes())

    assert card.certificate("7041") == other.read_bytes()


@pytest.mark.softhsm
def test_a_demo_begins_anew_each_time(tmp_path: Path) -> None:
    first = fresh(tmp_path / "demo")
    serial, password = first.card.serial, first.password("ada")

    second = fresh(tmp_path / "demo")

    assert second.card.serial != serial
    assert second.password("ada") != password
    assert second.profiles_file.read_text() == SHORT_LIVED
    assert second.settings.pinentry == second.pinentry


class Counter:
    """An API whose plan was another one at the first click; ``no`` is what it says then."""

    def __init__(self, no: str) -> None:
        self._no, self.clicks = no, list[str]()

    def api(self, _who: str) -> "Counter":
        return self

    def get(self, _path: str) -> dict[str, str]:
        return {"digest": f"look {len(self.clicks) + 1}"}

    def post(self, _path: str, body: dict[str, str]) -> dict[str, str]:
        self.clicks.append(body["plan_digest"])
        if len(self.clicks) == 1:
            raise Problem(409, {"detail": self._no})
        return {"id": "opened"}


def test_a_holder_who_is_told_that_the_plan_has_changed_looks_again() -> None:
    counter = Counter(planning.CHANGED)
    run = UpdateRun(counter, "card")  # type: ignore[arg-type]

    run.open()

    assert run.update_id == "opened"
    assert counter.clicks == ["look 1", "look 2"]


def test_another_no_is_final() -> None:
    counter = Counter("an update of this card is open already")

    with pytest.raises(Problem, match="open already"):
        UpdateRun(counter, "card").open()  # type: ignore[arg-type]

    assert counter.clicks == ["look 1"]
