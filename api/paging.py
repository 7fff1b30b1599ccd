"""Lists come in pages; an opaque cursor says where the last page ended."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from api.problems import Problem, invalid

T = TypeVar("T")
Row = TypeVar("Row")
LONGEST_CURSOR = 200
LONGEST_NUMBER = 15


class Page(BaseModel, Generic[T]):
    """A part of a list; ``next`` is the cursor of the part that follows, or null."""

    items: list[T]
    next: str | None = None


@dataclass(frozen=True)
class Paging:
    """Which part of a list is asked for."""

    cursor: Annotated[str, Query(max_length=LONGEST_CURSOR)] = ""
    limit: Annotated[int, Query(ge=1, le=200)] = 50

    def after(self, name: str) -> str:
        """Return the key after which the page of list ``name`` starts; empty: at the beginning."""
        if not self.cursor:
            return ""
        try:
            text = base64.urlsafe_b64decode(self.cursor.encode() + b"==").decode()
        except (binascii.Error, UnicodeError) as error:
            raise _bad_cursor() from error
        listed, _, key = text.partition("\n")
        if listed != name or not key:
            raise _bad_cursor()
        return key

    def after_number(self, name: str) -> int:
        """Return the same where the key is a number."""
        key = self.after(name)
        if not key:
            return 0
        if not key.isascii() or not key.isdigit() or len(key) > LONGEST_NUMBER:
            raise _bad_cursor()
        return int(key)


def page(
    name: str,
    rows: Sequence[Row],
    paging: Paging,
    key: Callable[[Row], str],
    shown: Callable[[Row], T],
) -> Page[T]:
    """Return the page made of ``rows``, of which one more than the limit was asked for."""
    kept = rows[: paging.limit]
    following = cursor(name, key(kept[-1])) if len(rows) > paging.limit else None
    return Page(items=[shown(row) for row in kept], next=following)


def cursor(name: str, key: str) -> str:
    """Return the cursor that starts list ``name`` after ``key``."""
    return base64.urlsafe_b64encode(f"{name}\n{key}".encode()).decode().rstrip("=")


def _bad_cursor() -> Problem:
    return invalid("cursor", "it is not one that this list gave", "start without a cursor")
