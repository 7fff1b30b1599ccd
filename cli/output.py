"""How answers look: a table or a few lines for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from cardflow.errors import Refused

PIPED_WIDTH = 200  # a program, or `less -S`, that reads our tables is not 80 columns wide
console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
progress_console = Console(stderr=True, highlight=False)

T = TypeVar("T")

WHOLE = ("id", "serial", "serial_number")  # what people copy stays on one line
INSTANT_LENGTH = len("2026-01-01T00:00:00")


def show_json(value: Any) -> None:
    """Print the value as JSON, as the API sent it."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show_list(items: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a table of the columns, or every field as JSON."""
    rows = list(items)
    if as_json:
        return show_json(rows)
    if not rows:
        return console.print("[dim]nothing[/]")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        whole = column.endswith(WHOLE)
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(readable(row.get(column)) for column in columns))
    return console.print(table)


def show_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one object, a field per line, or as JSON."""
    if as_json:
        return show_json(record)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in record.items():
        if value not in (None, "", [], {}):
            table.add_row(f"[bold]{escape(name.replace('_', ' '))}[/]", readable(value))
    return console.print(table)


def say(text: str) -> None:
    """Print one line that is not part of an answer."""
    progress_console.print(escape(text), soft_wrap=True)


def readable(value: Any) -> str:
    """Return the value as a person reads it, safe to be shown by rich."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(readable(item) for item in value)
        case {"id": _, "name": str(name)}:
            return escape(name)
        case dict():
            return ", ".join(f"{escape(str(k))}: {readable(v)}" for k, v in value.items())
        case str() if instant := _instant(value):
            return f"{instant:%Y-%m-%d %H:%M:%S}"
    return escape(str(value))


def _instant(text: str) -> datetime | None:
    if len(text) < INSTANT_LENGTH or text[10:11] != "T":
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        return None


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show that something takes a moment."""
    with progress_console.status(escape(text)):
        yield


def in_turn(items: Sequence[T], text: str) -> Iterable[T]:
    """Yield the items and show how many are done."""
    hidden = not progress_console.is_terminal
    return track(items, escape(text), console=progress_console, transient=True, disable=hidden)


def read_text(path: Path) -> str:
    """Return a file that a person named, or say what is wrong with it."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not UTF-8 text\n  → save it as UTF-8") from error


def save(content: bytes, path: Path | None) -> None:
    """The content is in ``path``, or went to standard output when no path is given."""
    if path is None:
        sys.stdout.buffer.write(content)
        return
    path.write_bytes(content)
    say(f"{path}: {len(content)} bytes")
