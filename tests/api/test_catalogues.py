"""Everything that the pages say is said in German too, with the same places for values."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from api import accounts_there, by_card, by_provider, session
from api.web.policy_form import POLICY, PROFILE
from api.web.policy_words import SAID
from api.web.tongue import CATALOGUES, PLACEHOLDER, Tongue
from api.web.trail import ACTS, KINDS
from api.web.words import WORDS
from cardflow.model import Act, EventKind

WEB = CATALOGUES.parent
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2)}
OPTIONS = {"extensions": "", "trimmed": "true"}


def said() -> Iterator[tuple[str, str]]:
    """Yield every text of the pages and where it stands."""
    for path in sorted((WEB / "templates").rglob("*.html")):
        with path.open("rb") as file:
            for line, text, *_ in extract("jinja2", file, KEYWORDS, options=OPTIONS):
                yield (text[0] if isinstance(text, tuple) else text), f"{path.name}:{line}"
    for path in sorted(WEB.parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "N_":
                yield ast.literal_eval(node.args[0]), path.name


def catalogue(language: str) -> dict[str, tuple[str, ...]]:
    """Return what a language's catalogues hold: each text with its translations."""
    found = {}
    for path in sorted((CATALOGUES / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                key = message.id if isinstance(message.id, str) else message.id[0]
                strings = message.string
                found[key] = (strings,) if isinstance(strings, str) else tuple(strings)
    return found


def test_every_text_has_its_german() -> None:
    german = catalogue("de")

    assert [f"{place}: {text}" for text, place in said() if not all(german.get(text, ("",)))] == []


@pytest.mark.parametrize("language", ["de", "ar"])
def test_a_translation_has_the_same_places_for_values(language: str) -> None:
    wrong = [
        text
        for text, translations in catalogue(language).items()
        for translation in translations
        if text and not set(PLACEHOLDER.findall(translation)) <= {*PLACEHOLDER.findall(text), "n"}
    ]

    assert wrong == []


def test_a_sentence_of_the_core_keeps_its_values() -> None:
    german = Tongue("de")
    texts = catalogue("de")
    pattern = next(text for text in texts if PLACEHOLDER.search(text) and "{n}" not in text)
    values = {name: f"value-{name}" for name in PLACEHOLDER.findall(pattern)}

    shown = german.sentence(pattern.format(**values))

    assert shown == texts[pattern][0].format(**values)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_an_instant_at_the_end_of_the_calendar_is_shown(zone: str) -> None:
    tongue = Tongue("en", ZoneInfo(zone))
    no_end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

    assert tongue.day(no_end) == "31 Dec 9999"
    assert tongue.moment(no_end).startswith("31 Dec 9999")


def test_no_catalogue_names_a_place_twice() -> None:
    for language in ("de", "ar"):
        for text in catalogue(language):
            names = PLACEHOLDER.findall(text)
            assert len(names) == len(set(names)), text


def test_catalogues_are_where_the_pages_look() -> None:
    assert {path.suffix for path in Path(CATALOGUES).rglob("*") if path.is_file()} == {".po"}
    assert re.fullmatch(r"ltr|rtl", Tongue("ar").direction)
    assert Tongue("ar").direction == "rtl"


def test_every_key_of_a_policy_has_a_name_and_every_choice_a_sentence() -> None:
    asked = [
        (f"{field.key}.{one.key}" if field.inner else one.key, one)
        for field in (*POLICY, *PROFILE)
        for one in field.inner or (field,)
    ]
    choices = {"check": ("True", "False")}
    unsaid = [
        (key, value)
        for key, one in asked
        for value in choices.get(one.kind, one.options if one.kind == "choice" else ())
        if (key, value) not in SAID and key != "key_type"  # its values are names
    ]

    assert [key for key, _ in asked if key not in WORDS] == []
    assert unsaid == []


def test_why_somebody_is_not_let_in_is_said_in_every_language() -> None:
    reasons = [
        text
        for module in (accounts_there, by_card, by_provider, session)
        for text in vars(module).values()
        if isinstance(text, str) and "; " in text and "\n" not in text
    ]

    assert len(reasons) > 9
    for language in ("de", "ar"):
        said_there = catalogue(language)
        assert [text for text in reasons if not all(said_there.get(text, ("",)))] == []


def test_everything_that_people_do_and_that_happens_has_its_words() -> None:
    assert set(ACTS) == set(Act)
    assert set(EventKind) <= set(KINDS)
