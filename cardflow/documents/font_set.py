"""The fonts of the forms and the characters they have.

PDF/A forbids a character without a glyph, so one rare letter in a name would leave its holder
without a form. Such a character is printed as its number instead, visibly.
"""

import struct
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typst

VENDORED = Path(__file__).with_name("fonts")
_SUFFIXES = {".ttf", ".otf"}
_JOINERS = {"\u200c", "\u200d", "\u200e", "\u200f"}  # part of the spelling of names in some scripts


class FontSet:
    """The vendored fonts and those of further directories; the machine's own are never used."""

    def __init__(self, *directories: Path) -> None:
        self.directories = (VENDORED, *directories)

    @cached_property
    def for_typst(self) -> "typst.Fonts":
        """Return what compilers share; loading fonts is the slow part of a form."""
        import typst  # 7 MiB, and only who prints needs it

        return typst.Fonts(
            include_system_fonts=False,
            include_embedded_fonts=False,
            font_paths=[str(directory) for directory in self.directories],
        )

    def compiler(self, template: Path, inputs: Mapping[str, str]) -> "typst.Compiler":
        """Return what makes a sheet of a template.

        One for each use: typst.Compiler fails with 'Already borrowed' when threads share it.
        """
        import typst

        return typst.Compiler(
            template, root=template.parent, font_paths=self.for_typst, sys_inputs=dict(inputs)
        )

    @cached_property
    def families(self) -> list[str]:
        """Return the families in the order in which they are tried for a character."""
        return sorted(set(self.for_typst.families()), key=lambda name: (name != "Noto Sans", name))

    @cached_property
    def coverage(self) -> frozenset[int]:
        """Return every code point that some font has a glyph for."""
        files = [file for directory in self.directories for file in sorted(directory.iterdir())]
        fonts = [file.read_bytes() for file in files if file.suffix.lower() in _SUFFIXES]
        return frozenset().union(*(code_points(font) for font in fonts))

    def printable(self, text: str) -> str:
        """Return ``text`` as paper can show it.

        Control characters are shown by number too: a direction override would let a value read
        differently from what it is (Unicode TR 36, 3.1).
        """
        return "".join(map(self._character, unicodedata.normalize("NFC", text)))

    def _character(self, character: str) -> str:
        hidden = unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"}
        if character in _JOINERS or (not hidden and ord(character) in self.coverage):
            return character
        return f"[U+{ord(character):04X}]"


def code_points(font: bytes) -> set[int]:
    """Return the code points in a font's character map (OpenType 'cmap', formats 4 and 12)."""
    cmap = _table(font, b"cmap")
    (count,) = struct.unpack_from(">2xH", cmap)
    offsets = {struct.unpack_from(">4xL", cmap, 4 + 8 * index)[0] for index in range(count)}
    found: set[int] = set()
    for offset in offsets:
        (kind,) = struct.unpack_from(">H", cmap, offset)
        if kind == 4:  # noqa: PLR2004
            found |= _segments(cmap[offset:])
        elif kind == 12:  # noqa: PLR2004
            found |= _groups(cmap[offset:])
    return found


def _table(font: bytes, tag: bytes) -> bytes:
    (count,) = struct.unpack_from(">4xH", font)
    for index in range(count):
        name, offset, length = struct.unpack_from(">4s4xLL", font, 12 + 16 * index)
        if name == tag:
            return font[offset : offset + length]
    msg = f"the font has no {tag.decode()} table"
    raise ValueError(msg)


def _segments(table: bytes) -> set[int]:
    (doubled,) = struct.unpack_from(">6xH", table)
    ends = struct.unpack_from(f">{doubled // 2}H", table, 14)
    starts = struct.unpack_from(f">{doubled // 2}H", table, 16 + doubled)
    ranges = zip(starts, ends, strict=True)
    return {point for start, end in ranges for point in range(start, end + 1)} - {0xFFFF}


def _groups(table: bytes) -> set[int]:
    (count,) = struct.unpack_from(">12xL", table)
    ranges = (struct.unpack_from(">LL", table, 16 + 12 * index) for index in range(count))
    return {point for start, end in ranges for point in range(start, end + 1)}
