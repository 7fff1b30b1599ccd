"""How a PIN is asked for, and that nothing of it is left behind."""

import os
import pty
import re
import threading

import pytest

from agent.assuan import escaped
from agent.drivers import CardFailure
from agent.memory import Pin
from agent.pin import PinentryPrompt, Question, TerminalPrompt, plain
from cardflow.jobs import Outcome
from tests.agent.desk import Person

QUESTION = Question("https://cards.example", "Ann", "Ann's card", "0042", "1 new key", "4711 oak")


def typed_through(person, *pins, warning=""):
    person.types(*pins)
    pin = Pin()
    question = Question(*list(vars(QUESTION).values())[:6], warning)
    PinentryPrompt(str(person.program), 10).ask(question, pin)
    return pin


@pytest.fixture
def person(tmp_path):
    return Person(tmp_path / "person")


@pytest.mark.parametrize("text", ["1234", "12 34", "25%41%25", "äöü€", "+-/\\", "x" * 200])
def test_a_pin_arrives_as_it_was_typed(person, text):
    assert bytes(typed_through(person, text).encode()) == text.encode()


def test_no_pin_is_an_empty_pin(person):
    assert len(typed_through(person, "")) == 0


def test_a_pin_in_its_buffer_shows_nothing_of_itself(person):
    pin = typed_through(person, "12345678")
    assert "1234" not in repr(pin) + str(pin) + f"{pin}"


def test_a_wiped_pin_is_zeros_everywhere(person):
    pin = typed_through(person, "12345678")
    exact = pin.encode()
    pin.wipe()
    assert exact == bytearray(8)
    assert pin.room.bytes[:] == bytes(4096)
    assert len(pin) == 0


def test_the_question_shows_server_holder_card_purpose_code_and_warning(person):
    typed_through(person, "1234", warning="Few tries are left.")
    shown = person.saw()
    for text in (*list(vars(QUESTION).values())[:6], "Few tries are left."):
        assert text in shown


@pytest.mark.parametrize(
    ("instead", "outcome"),
    [("!cancel", Outcome.PIN_CANCELLED), ("!timeout", Outcome.PIN_TIMED_OUT)],
)
def test_what_a_person_does_instead_is_named(person, instead, outcome):
    with pytest.raises(CardFailure) as failure:
        typed_through(person, instead)
    assert failure.value.outcome is outcome


def test_a_pinentry_that_hangs_is_given_up(person, monkeypatch):
    person.types("!hang")
    with pytest.raises(CardFailure) as failure:
        PinentryPrompt(str(person.program), -4).ask(QUESTION, Pin())
    assert failure.value.outcome is Outcome.PIN_TIMED_OUT


@pytest.mark.parametrize("text", ["", "exit 1", "echo nonsense", "yes", "head -c 9000 /dev/zero"])
def test_a_program_that_is_no_pinentry_is_named(tmp_path, text):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    with pytest.raises(CardFailure, match=r"could not be asked for|in time") as failure:
        PinentryPrompt(str(program), -4 if text == "yes" else 5).ask(QUESTION, Pin())
    assert failure.value.outcome in (Outcome.PIN_CANCELLED, Outcome.PIN_TIMED_OUT)


def test_a_pinentry_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CardFailure, match="could not be started"):
        PinentryPrompt(str(tmp_path / "nothing"), 5).ask(QUESTION, Pin())


def test_what_others_wrote_adds_no_line_and_turns_no_text():
    hostile = Question("s", "Ann\nServer: https://evil", "\u202ecard", "1", "p\x1b[2J", "c\u2028d")
    text = hostile.text()
    assert len(text.splitlines()) == 5
    assert not re.search("[\x1b\u202e\u2028]", text)


def test_long_texts_are_cut():
    assert len(plain("x" * 1000)) == 160
    assert len(escaped("%" * 5000).encode()) <= 990
    assert escaped("a%b\nc\rd") == "a%25b%0Ac%0Dd"


# The terminal


class Terminal:
    """A person at a terminal: types once the question is there."""

    def __init__(self, typed):
        self.master, slave = pty.openpty()
        self.path = os.ttyname(slave)
        self._slave = slave
        self.shown = b""
        self._typist = threading.Thread(target=self._type, args=(typed,))
        self._typist.start()

    def _type(self, typed):
        while not self.shown.endswith((b"PIN: ", b"use it: ")):
            self.shown += os.read(self.master, 4096)
        os.write(self.master, typed)

    def close(self):
        self._typist.join(10)
        os.set_blocking(self.master, False)
        try:
            self.shown += os.read(self.master, 4096)
        except BlockingIOError:
            pass
        finally:
            os.close(self._slave)
            os.close(self.master)


@pytest.mark.parametrize("typed", [b"246810\n", b"246810\r", b"24\x7f4681\x7f10\n"])
def test_a_pin_typed_on_the_terminal_is_not_shown(typed):
    terminal = Terminal(typed)
    pin = Pin()
    TerminalPrompt(10, terminal.path).ask(QUESTION, pin)
    terminal.close()
    assert bytes(pin.encode()) == b"246810"
    assert b"246810" not in terminal.shown
    assert b"4711 oak" in terminal.shown


@pytest.mark.parametrize(("typed", "answer"), [(b"yes\n", True), (b"no\n", False), (b"\n", False)])
def test_the_last_try_is_confirmed_by_the_word_yes(typed, answer):
    terminal = Terminal(typed)
    assert TerminalPrompt(10, terminal.path).confirm(QUESTION) is answer
    terminal.close()


def test_a_silent_terminal_is_given_up():
    terminal = Terminal(b"")
    with pytest.raises(CardFailure) as failure:
        TerminalPrompt(0, terminal.path).ask(QUESTION, Pin())
    terminal.close()
    assert failure.value.outcome is Outcome.PIN_TIMED_OUT


def test_the_end_of_the_terminal_is_a_cancel():
    terminal = Terminal(b"\x04")
    with pytest.raises(CardFailure) as failure:
        TerminalPrompt(10, terminal.path).ask(QUESTION, Pin())
    terminal.close()
    assert failure.value.outcome is Outcome.PIN_CANCELLED


def test_no_terminal_is_named():
    with pytest.raises(CardFailure, match="no terminal"):
        TerminalPrompt(10, "/dev/nothing").ask(QUESTION, Pin())
