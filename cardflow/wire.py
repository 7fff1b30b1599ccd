"""The closed JSON form of the dataclasses that cross the agent door: nothing unknown, nothing huge.

Both sides read what the other sent with ``from_json``; a field that is missing, unknown, too long
or of another type is refused by name, so a message can never carry more than its type says.
"""

import json
import re
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, partial
from typing import Any, TypeVar

from cardflow.errors import Refused

LONGEST_TEXT = 65_536
MOST_ITEMS = 1_000
LARGEST_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly

_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# The same for those who are told before (JSON Schema); what is no Unicode cannot be written there.
TEXT_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

T = TypeVar("T")
Reader = Callable[[Any, str], Any]  # of a value and where it stands


def to_json(value: Any) -> Any:
    """Return ``value`` as JSON types; instants become RFC 3339 text in UTC."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, StrEnum) else value


def parsed(text: bytes | str) -> Any:
    """Return what a JSON text says, or refuse it when it is none or could be read in two ways.

    I-JSON (RFC 7493): UTF-8, no name twice in an object, no number that JSON does not know.
    """
    try:
        told = text.decode() if isinstance(text, bytes) else text
        return json.loads(told, object_pairs_hook=_each_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("it is not JSON") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        raise ValueError
    return told


def _no_number(_name: str) -> Any:
    raise ValueError


def from_json(cls: type[T], data: Any) -> T:
    """Return the ``cls`` that ``data`` describes, or refuse it, naming the field and the reason."""
    return typing.cast("T", _read(cls, data, cls.__name__))


def _read(wanted: Any, data: Any, where: str) -> Any:
    return _reader(wanted)(data, where)


@cache
def _reader(wanted: Any) -> Reader:
    """Return what reads a value of a type: types are looked into once, not at every value."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        (arm,) = (arm for arm in inner if arm is not types.NoneType)
        return partial(_read_optional, _reader(arm))
    if origin is tuple:
        return partial(_read_tuple, _reader(inner[0]))
    if origin is dict:
        return _read_texts
    if is_dataclass(wanted):
        return partial(_read_dataclass, typing.cast("type", wanted))
    if wanted in _SCALARS:
        return _SCALARS[wanted]
    return partial(_member, wanted) if issubclass(wanted, StrEnum) else _text


def _read_optional(read: Reader, data: Any, where: str) -> Any:
    return None if data is None else read(data, where)


def _read_tuple(read: Reader, data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise Refused(f"{where}: a list is expected")
    if len(data) > MOST_ITEMS:
        raise Refused(f"{where}: more than {MOST_ITEMS} items")
    return tuple(read(element, f"{where}[{n}]") for n, element in enumerate(data))


def _read_texts(data: Any, where: str) -> dict[str, str]:
    if not isinstance(data, dict):
        raise Refused(f"{where}: an object is expected")
    if len(data) > MOST_ITEMS:
        raise Refused(f"{where}: more than {MOST_ITEMS} items")
    return {_text(key, where): _text(value, f"{where}.{key}") for key, value in data.items()}


def _read_dataclass(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise Refused(f"{where}: an object is expected")
    readers, required = _fields_of(cls)
    unknown = [name for name in data if name not in readers]
    missing = [name for name in required if name not in data]
    objections = [f"{where}.{str(name)[:40]}: unknown field" for name in unknown[:10]]
    if objections := objections + [f"{where}.{name}: missing" for name in missing]:
        raise Refused(*objections)
    return cls(**{name: readers[name](data[name], f"{where}.{name}") for name in data})


@cache
def _fields_of(cls: type) -> tuple[dict[str, Reader], list[str]]:
    """Return what reads each field, and which fields may not be left out."""
    hints, own = typing.get_type_hints(cls), fields(cls)
    required = [f.name for f in own if f.default is MISSING and f.default_factory is MISSING]
    return {f.name: _reader(hints[f.name]) for f in own}, required


def _flag(data: Any, where: str) -> bool:
    if not isinstance(data, bool):
        raise Refused(f"{where}: true or false is expected")
    return data


def _whole(data: Any, where: str) -> int:
    if isinstance(data, float) and data.is_integer():  # 1.0 is 1 (JSON Schema 2020-12, 6.1.1)
        data = int(data)
    if isinstance(data, bool) or not isinstance(data, int) or abs(data) > LARGEST_INTEGER:
        raise Refused(f"{where}: a whole number is expected")
    return data


def _text(data: Any, where: str) -> str:
    if not isinstance(data, str):
        raise Refused(f"{where}: text is expected")
    if len(data) > LONGEST_TEXT:
        raise Refused(f"{where}: longer than {LONGEST_TEXT} characters")
    if _NOT_TEXT.search(data):
        raise Refused(f"{where}: control characters are not allowed")
    return data


def _member(wanted: type[StrEnum], data: Any, where: str) -> StrEnum:
    try:
        return wanted(_text(data, where))
    except ValueError:
        raise Refused(f"{where}: not one of {', '.join(wanted)}") from None


def _instant(data: Any, where: str) -> datetime:
    try:
        instant = datetime.fromisoformat(_text(data, where))
    except ValueError:
        raise Refused(f"{where}: not an instant") from None
    if instant.tzinfo is None:
        raise Refused(f"{where}: an instant needs a time zone")
    return instant.astimezone(UTC)


_SCALARS: dict[Any, Reader] = {bool: _flag, int: _whole, datetime: _instant}
