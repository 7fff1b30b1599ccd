"""The closed JSON form of the dataclasses that cross the agent door: nothing unknown, nothing huge.

Both sides read what the other sent with ``from_json``; a field that is missing, unknown, too long
or of another type is refused by name, so a message can never carry more than its type says.
"""

import json
import re
import types
import typing
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from cardflow.errors import Refused

LONGEST_TEXT = 65_536
MOST_ITEMS = 1_000
LARGEST_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly

_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# The same for those who are told before (JSON Schema); what is no Unicode cannot be written there.
TEXT_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

T = TypeVar("T")


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
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        return _read_optional(wanted, data, where)
    if origin is tuple:
        return _read_tuple(typing.get_args(wanted)[0], data, where)
    if origin is dict:
        return _read_texts(data, where)
    if is_dataclass(wanted):
        return _read_dataclass(typing.cast("type", wanted), data, where)
    return _read_scalar(wanted, data, where)


def _read_optional(wanted: Any, data: Any, where: str) -> Any:
    if data is None:
        return None
    (inner,) = (arm for arm in typing.get_args(wanted) if arm is not types.NoneType)
    return _read(inner, data, where)


def _read_tuple(item: Any, data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise Refused(f"{where}: a list is expected")
    if len(data) > MOST_ITEMS:
        raise Refused(f"{where}: more than {MOST_ITEMS} items")
    return tuple(_read(item, element, f"{where}[{n}]") for n, element in enumerate(data))


def _read_texts(data: Any, where: str) -> dict[str, str]:
    if not isinstance(data, dict):
        raise Refused(f"{where}: an object is expected")
    if len(data) > MOST_ITEMS:
        raise Refused(f"{where}: more than {MOST_ITEMS} items")
    return {_text(key, where): _text(value, f"{where}.{key}") for key, value in data.items()}


def _read_dataclass(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise Refused(f"{where}: an object is expected")
    known = {f.name: f for f in fields(cls)}
    unknown = [name for name in data if name not in known]
    missing = [name for name, f in known.items() if name not in data and _is_required(f)]
    objections = [f"{where}.{str(name)[:40]}: unknown field" for name in unknown[:10]]
    if objections := objections + [f"{where}.{name}: missing" for name in missing]:
        raise Refused(*objections)
    hints = _hints(cls)
    return cls(**{name: _read(hints[name], data[name], f"{where}.{name}") for name in data})


def _is_required(f: "Field[Any]") -> bool:
    return f.default is MISSING and f.default_factory is MISSING


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _read_scalar(wanted: Any, data: Any, where: str) -> Any:
    if wanted is bool:
        if not isinstance(data, bool):
            raise Refused(f"{where}: true or false is expected")
        return data
    if wanted is int:
        if isinstance(data, bool) or not isinstance(data, int) or abs(data) > LARGEST_INTEGER:
            raise Refused(f"{where}: a whole number is expected")
        return data
    if wanted is datetime:
        return _instant(data, where)
    if issubclass(wanted, StrEnum):
        return _member(wanted, data, where)
    return _text(data, where)


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
