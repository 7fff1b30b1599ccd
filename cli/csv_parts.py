"""A CSV file in parts that the API takes one after the other, so that its size does not matter."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

RECORDS_PER_PART = 1_000


@dataclass(frozen=True)
class Part:
    """Some records under the file's first line, as text."""

    text: str
    skipped: int  # lines of the file that are not in the part, before its records

    def line_of_file(self, line: int) -> int:
        """Return where a line of the part stands in the file."""
        return line + self.skipped


def parts_of(text: str, *, size: int = RECORDS_PER_PART) -> list[Part]:
    """Return the file in parts; one that is not CSV stays whole, for the API to say why."""
    try:
        records = list(_records(text))
    except csv.Error:
        return [Part(text, 0)]
    head, rest = "".join("".join(lines) for lines in records[:1]), iter(records[1:])
    parts, skipped = [], 0
    while some := [line for record in islice(rest, size) for line in record]:
        parts.append(Part(head + "".join(some), skipped))
        skipped += len(some)
    return parts or [Part(text, 0)]


def _records(text: str) -> Iterator[list[str]]:
    """Yield the lines of each record as they are written; a quoted cell may hold line breaks."""
    lines = list(io.StringIO(text, newline=""))
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    reader, begin = csv.reader(lines, delimiter=delimiter, strict=True), 0
    for _ in reader:
        yield lines[begin : reader.line_num]
        begin = reader.line_num
