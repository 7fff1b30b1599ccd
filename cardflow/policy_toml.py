"""Policies as TOML: refused as a whole with every reason at once, exported so that they read back.

A version's number is not in the file: importing gives it.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cardflow.errors import Refused
from cardflow.model import Policy, Profile
from cardflow.policy import policy_objections

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME = 64
ADDRESSES = ("dry-run", "preview")  # what stands where a name could, in the API's addresses
MAX_TEXT = 500
MAX_REASONS, MAX_REASON = 20, 200
TOO_DEEP = "not a policy: it is nested too deep, or holds what is no text"
MAX_HOURS = 10 * 366 * 24
MAX_DAYS = 10 * 366
READER = TypeAdapter(Policy)
STAND_IN = {"name": "x", "title": "x", "contact": "x", "profiles": []}
ABOUT_UNKNOWN = {"unexpected_keyword_argument": "there is no such key", "missing": "missing"}


def import_policy(
    text: str, *, version: int, profiles: Mapping[str, Profile], source: str = "policy"
) -> Policy:
    """Return the policy that the TOML ``text`` describes, or refuse it: file, key and reason."""
    try:
        return _judged(_document(text), version, profiles)
    except Refused as refused:
        raise Refused(*(f"{source}: {objection}" for objection in refused.objections)) from None


def stored_policy(text: str, version: int) -> Policy:
    """Return a version that was imported earlier; what is said of it today does not matter."""
    try:
        return _read(_document(text), version)
    except ValidationError as error:
        raise Refused(*(_objection(entry) for entry in error.errors())) from error


def _document(text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # also numbers of thousands of digits
        raise Refused(f"not TOML: {error}") from error
    except RecursionError:
        raise Refused(TOO_DEEP) from None
    if "version" in document:
        raise Refused("version: leave it out, importing gives the next number")
    return document


def _read(document: Mapping[str, Any], version: int) -> Policy:
    # JSON in between lets the reader be strict: no "5" for 5, but "RF" for a mode.
    try:
        told = json.dumps({**document, "version": version}, default=lambda value: [str(value)])
    except RecursionError:
        raise Refused(TOO_DEEP) from None
    return READER.validate_json(told, strict=True, extra="forbid")


def _judged(document: Mapping[str, Any], version: int, profiles: Mapping[str, Profile]) -> Policy:
    try:
        policy = _read(document, version)
        found = _rule_objections(policy, profiles)
    except ValidationError as error:
        errors = error.errors()
        if not all(entry["loc"] for entry in errors):
            raise Refused(TOO_DEEP) from None
        found = [*map(_objection, errors), *_about_the_rest(document, errors, profiles)]
    if found:
        raise Refused(*found)
    return policy


def _about_the_rest(
    document: Mapping[str, Any], errors: Sequence[Any], profiles: Mapping[str, Profile]
) -> list[str]:
    """Return what the rules say of the keys that could be read: nobody wants to hear it later."""
    bad = {str(entry["loc"][0]) for entry in errors}
    entries = {entry["loc"][1] for entry in errors if entry["loc"][:-1][:1] == ("profiles",)}
    rest = {**STAND_IN, **{key: value for key, value in document.items() if key not in bad}}
    if entries:
        good = enumerate(document["profiles"])
        rest["profiles"] = [entry for number, entry in good if number not in entries]
    found = _rule_objections(_read(rest, 1), profiles)
    return [one for one in found if not bad & _keys_in(one)]


def _keys_in(objection: str) -> set[str]:
    """Return the keys that an objection is about, or compares with."""
    where, _, words = objection.partition(": ")
    return {where, *re.findall("[a-z]+_[a-z_]+", words)}


def _rule_objections(policy: Policy, profiles: Mapping[str, Profile]) -> list[str]:
    return [*_size_objections(policy), *policy_objections(policy, profiles)]


def _objection(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {ABOUT_UNKNOWN.get(error['type'], error['msg'])}"


def _size_objections(policy: Policy) -> list[str]:
    found = []
    if not NAME.fullmatch(policy.name) or len(policy.name) > MAX_NAME:
        found.append(f"name: small letters, digits and single hyphens, at most {MAX_NAME}")
    if policy.name in ADDRESSES:
        found.append(f"name: {policy.name} is a word of our own; take another")
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
    return policy_text({k: v for k, v in asdict(policy).items() if k != "version"})


def policy_text(document: Mapping[str, Any]) -> str:
    """Return a policy's keys and values, good or bad, as TOML."""
    top, tables = [], []
    for name, value in document.items():
        if name == "profiles":
            tables += [f"\n[[profiles]]\n{_table(entry)}" for entry in value]
        elif isinstance(value, Mapping):
            tables.append(f"\n[{name}]\n{_table(value)}")
        else:
            top.append(f"{name} = {_written(value)}\n")
    return "".join(top + tables)


def _table(value: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {_written(inner)}\n" for name, inner in value.items())


def _written(value: Any) -> str:
    # JSON's texts, numbers and lists are TOML's too, but for the one control sign it leaves bare.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
