"""The languages of the pages: texts by gettext, dates and numbers by CLDR, in a person's own zone.

Catalogues are read from their .po files when a process starts: there is no build step to forget.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, cached_property
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

CATALOGUES = Path(__file__).parent / "catalogues"
PLACEHOLDER = re.compile(r"\{(\w+)\}")
SOURCE = "en"
LOCALES = {"en": "en_GB"}


@dataclass(frozen=True)
class Tongue:
    """One language: what the pages say in it, and how it writes dates and numbers."""

    language: str
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    @cached_property
    def locale(self) -> Locale:
        """The CLDR locale; English as it is written outside of America: day first, 24 hours."""
        return Locale.parse(LOCALES.get(self.language, self.language))

    @property
    def direction(self) -> str:
        """Which way the language runs: ``ltr`` or ``rtl``."""
        return self.locale.text_direction

    def say(self, text: str) -> str:
        """Return the text in this language; in English where it has none."""
        return _spoken(self.language).gettext(text) if text else ""

    def count(self, one: str, many: str, number: int) -> str:
        """Return the form of the text that the language has for this number."""
        return _spoken(self.language).ngettext(one, many, number)

    def sentence(self, text: str) -> str:
        """Return a sentence that the core made, with its values in place, in this language.

        Several reasons come as one text, parted by semicolons.
        """
        parts = [self._whole(part) for part in text.split("; ")]
        if all(parts):
            return "; ".join(parts)
        said = zip(parts, text.split("; "), strict=True)
        return self._whole(text) or "; ".join(part or original for part, original in said)

    def _whole(self, text: str) -> str:
        if found := _texts(self.language).get(text):
            return found
        for pattern, translated in _patterns(self.language):
            if match := pattern.fullmatch(text):
                values = {
                    key: self._whole(value) or value for key, value in match.groupdict().items()
                }
                return translated.format(**values)
        return ""

    def moment(self, instant: datetime | None) -> str:
        """Return a date with its time, in the person's zone."""
        return format_datetime(self._there(instant), "medium", None, self.locale) if instant else ""

    def day(self, instant: datetime | None) -> str:
        """Return a date."""
        return format_date(self._there(instant), "medium", self.locale) if instant else ""

    def _there(self, instant: datetime) -> datetime:
        try:
            return instant.astimezone(self.zone)
        except OverflowError:  # a certificate without an end: the calendar's last second, in UTC
            return instant

    def span(self, length: timedelta) -> str:
        """Return a length of time, rounded, as a person says it."""
        return format_timedelta(length, locale=self.locale, threshold=1.5)

    def number(self, value: float) -> str:
        """Return a number."""
        return format_decimal(value, locale=self.locale)


def N_(text: str) -> str:  # noqa: N802 gettext's own name for it
    """Return the text; it is marked for translation where it is written, not where it is shown."""
    return text


def languages() -> tuple[str, ...]:
    """Return the languages that the pages speak, English first."""
    return (SOURCE, *sorted(path.name for path in CATALOGUES.iterdir() if path.is_dir()))


@cache
def _catalogues(language: str) -> tuple[Catalog, ...]:
    """Return a language's catalogues, one per part of the pages."""
    found = []
    for path in sorted((CATALOGUES / language).glob("*.po")):
        with path.open("rb") as file:
            found.append(read_po(file, locale=language))
    return tuple(found)


@cache
def _texts(language: str) -> dict[str, str]:
    return {
        message.id: message.string
        for catalogue in _catalogues(language)
        for message in catalogue
        if isinstance(message.id, str) and isinstance(message.string, str) and message.id
        and message.string and not message.fuzzy
    }  # fmt: skip


@cache
def _spoken(language: str) -> NullTranslations:
    spoken = NullTranslations()
    for catalogue in _catalogues(language):
        compiled = BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        part = GNUTranslations(compiled)
        part.add_fallback(spoken)
        spoken = part
    return spoken


@cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return the texts with places for values, the longest first: it says the most."""
    found = ((id_, text) for id_, text in _texts(language).items() if "{" in id_)
    ordered = sorted(found, key=lambda pair: -len(PLACEHOLDER.sub("", pair[0])))
    return tuple((_pattern(id_), text) for id_, text in ordered)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(
        "".join(_parts(text)), re.DOTALL
    )  # allowed: pattern-from-data: parts are escaped


def _parts(text: str) -> Iterator[str]:
    for number, part in enumerate(PLACEHOLDER.split(text)):
        yield f"(?P<{part}>.+?)" if number % 2 else re.escape(part)
