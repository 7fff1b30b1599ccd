"""Policies as TOML: refused as a whole with every reason at once, exported so that they read back.

A version's number is not in the file: importing gives it.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cardflow.errors import Refused
from cardflow.model import Policy, Profile
from cardflow.policy import policy_objections

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME = 64
MAX_TEXT = 500
MAX_REASONS, MAX_REASON = 20, 200
MAX_HOURS = 10 * 366 * 24
MAX_DAYS = 10 * 366
READER = TypeAdapter(Policy)
ABOUT_UNKNOWN = {"unexpected_keyword_argument": "there is no such key", "missing": "missing"}


def import_policy(
    text: str, *, version: int, profiles: Mapping[str, Profile], source: str = "policy"
) -> Policy:
    """Return the policy that the TOML ``text`` describes, or refuse it: file, key and reason."""
    try:
        policy = stored_policy(text, version)
        found = [*_size_objections(policy), *policy_objections(policy, profiles)]
    except Refused as refused:
        found = refused.objections
    if found:
        raise Refused(*(f"{source}: {objection}" for objection in found))
    return policy


def stored_policy(text: str, version: int) -> Policy:
    """Return a version that was imported earlier; what is said of it today does not matter."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"not TOML: {error}") from error
    if "version" in document:
        raise Refused("version: leave it out, importing gives the next number")
    try:
        # JSON in between lets the reader be strict: no "5" for 5, but "RF" for a mode.
        told = json.dumps({**document, "version": version}, default=lambda value: [str(value)])
        return READER.validate_json(told, strict=True, extra="forbid")
    except ValidationError as error:
        raise Refused(*(_objection(entry) for entry in error.errors())) from error


def _objection(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {ABOUT_UNKNOWN.get(error['type'], error['msg'])}"


def _size_objections(policy: Policy) -> list[str]:
    found = []
    if not NAME.fullmatch(policy.name) or len(policy.name) > MAX_NAME:
        found.append(f"name: small letters, digits and single hyphens, at most {MAX_NAME}")
    found += [
        f"{key}: longer than {MAX_TEXT} characters"
        for key in ("title", "contact")
        if len(getattr(policy, key)) > MAX_TEXT
    ]
    found += _reason_objections(policy.rejection_reasons)
    for key, most in (
        ("renew_before_days", MAX_DAYS),
        ("reminder_hours", MAX_HOURS),
        ("escalation_hours", MAX_HOURS),
        ("deadline_hours", MAX_HOURS),
    ):
        if getattr(policy, key) > most:
            found.append(f"{key}: must be at most {most}")
    return found


def _reason_objections(reasons: Sequence[str]) -> list[str]:
    found = []
    if len(reasons) > MAX_REASONS:
        found.append(f"rejection_reasons: at most {MAX_REASONS}")
    for number, reason in enumerate(reasons):
        where = f"rejection_reasons.{number}"
        if not reason.strip() or not reason.isprintable():
            found.append(f"{where}: one line of text is needed")
        if len(reason) > MAX_REASON:
            found.append(f"{where}: longer than {MAX_REASON} characters")
    if len(set(reasons)) < len(reasons):
        found.append("rejection_reasons: one of them stands there twice")
    return found


def export_policy(policy: Policy) -> str:
    """Return the policy as TOML that imports as the same policy."""
    top, tables = [], []
    for name, value in _items(policy):
        if name == "version":
            continue
        if name == "profiles":
            tables += [f"\n[[profiles]]\n{_table(entry)}" for entry in value]
        elif is_dataclass(value):
            tables.append(f"\n[{name}]\n{_table(value)}")
        else:
            top.append(f"{name} = {_written(value)}\n")
    return "".join(top + tables)


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(f.name, getattr(value, f.name)) for f in fields(value)]


def _table(value: Any) -> str:
    return "".join(f"{name} = {_written(inner)}\n" for name, inner in _items(value))


def _written(value: Any) -> str:
    # JSON's texts, numbers and lists are TOML's too, but for the one control sign it leaves bare.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
