"""CSV files of people and cards: each line is judged alone, and refused by line and field."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query, Request
from pydantic import BaseModel, ValidationError
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from api.problems import Problem, invalid
from api.reasons import reason_of
from api.shapes import In
from cardflow.sql import alone_with

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
PART = 500

DryRun = Annotated[bool, Query(description="Only tell what would be done, line by line.")]

Model = TypeVar("Model", bound=In)


class Refusal(BaseModel):
    """One thing that is wrong in one line."""

    line: int
    field: str = ""
    reason: str


class FieldChange(BaseModel):
    """One field that a line changes."""

    field: str
    old: Any
    new: Any


class LineOut(BaseModel):
    """What one good line does."""

    line: int
    key: str  # the login, or the card's serial
    what: Literal["created", "updated", "unchanged"]
    changes: list[FieldChange] = []


class ImportOut(BaseModel):
    """What an import did, or would do, and every line that it did not take."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: list[Refusal] = []
    lines: list[LineOut] = []  # only of a dry run


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


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Verdict:
    """What is to be done because of one line, or every reason why nothing is."""

    told: LineOut | None = None
    refused: tuple[Refusal, ...] = ()
    change: Callable[[], None] = _nothing
    new: dict[str, Any] | None = None  # a row to add


Judge = Callable[[AsyncSession, Sequence[Row[Model]]], Awaitable[list[Verdict]]]


@dataclass
class Import(Generic[Model]):
    """A file on its way into the register: judged in parts, carried out unless it is a dry run."""

    table: Table[Model]
    into: type[SQLModel]
    judge: Judge[Model]
    dry_run: bool = False
    done: ImportOut = field(default_factory=ImportOut)

    async def steps(self, session: AsyncSession) -> AsyncIterator[tuple[int, int]]:
        """Yield how many good lines are done, of how many, after each part."""
        rows = self.table.rows
        if not self.dry_run:
            # Of two imports the second waits: each would come to rows that the other has changed.
            await alone_with(session, f"import/{self.into.__tablename__}")
        self.done.refused += self.table.refused
        for start in range(0, len(rows), PART):
            yield start, len(rows)
            verdicts = await self.judge(session, rows[start : start + PART])
            for verdict in verdicts:
                self._take(verdict)
            await self._add(session, [v.new for v in verdicts if v.new])
            await session.flush()
        self.done.refused.sort(key=lambda refusal: refusal.line)
        yield len(rows), len(rows)

    async def run(self, session: AsyncSession) -> ImportOut:
        """Return what was done."""
        async for _ in self.steps(session):
            pass
        return self.done

    def _take(self, verdict: Verdict) -> None:
        self.done.refused += verdict.refused
        if verdict.told is None:
            return
        setattr(self.done, verdict.told.what, getattr(self.done, verdict.told.what) + 1)
        if self.dry_run:
            self.done.lines.append(verdict.told)
        else:
            verdict.change()

    async def _add(self, session: AsyncSession, rows: list[dict[str, Any]]) -> None:
        # Rows, not objects: making twenty thousand of those would hold up every other writer.
        if rows and not self.dry_run:
            await session.execute(insert(self.into), rows)


async def csv_of(request: Request) -> bytes:
    """Return the request's CSV file, or raise Problem 415."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise Problem(415, f"send the file as {MEDIA_TYPE}")
    return await request.body()


def read_table(content: bytes, model: type[Model], *, key: str) -> Table[Model]:
    """Return the lines of a file whose first line names fields of ``model``, one per ``key``."""
    table: Table[Model] = Table()
    lines = _lines(content)
    header = _header(lines, model)
    for line, cells in lines:
        _read_line(table, model, line, header, cells)
    _refuse_repeated(table, key)
    return table


def _refuse_repeated(table: Table[Model], key: str) -> None:
    first: dict[str, int] = {}
    for row in table.rows:
        line = first.setdefault(getattr(row.value, key), row.line)
        if line != row.line:
            reason = f"the same stands in line {line} already"
            table.refused.append(Refusal(line=row.line, field=key, reason=reason))
    table.rows = [row for row in table.rows if first[getattr(row.value, key)] == row.line]


def changes_of(thing: object, given: dict[str, Any]) -> list[FieldChange]:
    """Return the fields of a row that would change."""
    return [
        FieldChange(field=name, old=getattr(thing, name), new=value)
        for name, value in given.items()
        if getattr(thing, name) != value
    ]


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
    return Refusal(line=line, field=str(error["loc"][0]), reason=reason_of(error))
