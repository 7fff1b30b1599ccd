"""CSV files of people and cards: each line is judged alone, and refused by line and field."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.problems import Problem, invalid
from api.shapes import In

IMPORT_LIMIT = 5 * 1024 * 1024
MOST_LINES = 20_000
MEDIA_TYPE = "text/csv"
CSV_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"UTF-8, with a first line that names the columns; at most {MOST_LINES:,} "
        f"lines and {IMPORT_LIMIT // 2**20} MiB. Larger files are sent in parts.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}
# What a spreadsheet would run as a formula when somebody opens an export of this data.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
LISTS = frozenset({"roles"})  # several words in one cell, with spaces between them

Model = TypeVar("Model", bound=In)


class Refusal(BaseModel):
    """One thing that is wrong in one line."""

    line: int
    field: str = ""
    reason: str


class ImportOut(BaseModel):
    """What an import did, and every line that it did not take."""

    created: int = 0
    updated: int = 0
    refused: list[Refusal] = []


@dataclass(frozen=True)
class Row(Generic[Model]):
    """One good line, and which columns it gave."""

    line: int
    value: Model
    columns: set[str]


@dataclass
class Table(Generic[Model]):
    """The good lines of a file, and what is wrong with the others."""

    rows: list[Row[Model]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


async def csv_of(request: Request) -> bytes:
    """Return the request's CSV file, or raise Problem 415."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise Problem(415, f"send the file as {MEDIA_TYPE}")
    return await request.body()


def read_table(content: bytes, model: type[Model]) -> Table[Model]:
    """Return the lines of a file whose first line names fields of ``model``."""
    table: Table[Model] = Table()
    lines = _lines(content)
    header = _header(lines, model)
    for line, cells in lines:
        _read_line(table, model, line, header, cells)
    return table


def _lines(content: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid("body", "the file is not UTF-8 text", "save it as UTF-8 CSV") from error
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if reader.line_num > MOST_LINES:
                raise invalid("body", f"more than {MOST_LINES:,} lines", "send the file in parts")
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise invalid("body", f"line {reader.line_num} is not CSV: {error}") from error


def _header(lines: Iterator[tuple[int, list[str]]], model: type[In]) -> list[str]:
    header = [cell.strip().lower() for cell in next(lines, (1, []))[1]]
    known = model.model_fields
    missing = [name for name, info in known.items() if info.is_required() and name not in header]
    found = [f"the column {name} is missing" for name in missing]
    found += [f"there is no column {name}" for name in header if name not in known]
    found += [f"the column {name} stands there twice" for name in _repeated(header)]
    if found:
        raise invalid("body", "; ".join(found), f"the columns are {', '.join(known)}")
    return header


def _repeated(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _read_line(
    table: Table[Model], model: type[Model], line: int, header: list[str], cells: list[str]
) -> None:
    if len(cells) != len(header):
        reason = f"{len(cells)} cells where the first line has {len(header)}"
        table.refused.append(Refusal(line=line, reason=reason))
        return
    given = dict(zip(header, cells, strict=True))
    if dangerous := [name for name, cell in given.items() if cell.startswith(FORMULA_STARTS)]:
        reason = "a spreadsheet would run this as a formula"
        table.refused += [Refusal(line=line, field=name, reason=reason) for name in dangerous]
        return
    try:
        value = model.model_validate({name: _cell(name, text) for name, text in given.items()})
    except ValidationError as error:
        table.refused += [_refusal(line, entry) for entry in error.errors(include_input=False)]
        return
    table.rows.append(Row(line, value, set(given)))


def _cell(name: str, text: str) -> str | list[str]:
    return text.split() if name in LISTS else text


def _refusal(line: int, error: Any) -> Refusal:
    return Refusal(line=line, field=str(error["loc"][0]), reason=error["msg"])
