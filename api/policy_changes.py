"""What differs between two versions of a policy: by key, and line by line; pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from difflib import SequenceMatcher
from typing import Any, Literal

from api.shapes import Out
from cardflow.model import Policy

CONTEXT = 3


class ChangeOut(Out):
    """One key with what it was and what it is; a profile that came or went has one side only."""

    key: str
    old: Any = None
    new: Any = None


class LineOut(Out):
    """One line of text with its numbers; ``gap`` stands for equal lines that are left out."""

    sign: Literal["added", "removed", "same", "gap"]
    text: str = ""
    old_number: int | None = None
    new_number: int | None = None


def key_changes(old: Policy, new: Policy) -> list[ChangeOut]:
    """Return every key whose value differs, in the order of the policy's keys."""
    return list(_differing("", _by_key(old), _by_key(new)))


def _by_key(policy: Policy) -> dict[str, Any]:
    found = asdict(policy)
    del found["version"]
    return found | {"profiles": {entry["profile"]: entry for entry in found["profiles"]}}


def _differing(where: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[ChangeOut]:
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differing(f"{where}{key}.", before, after)
        elif before != after:
            yield ChangeOut(key=f"{where}{key}", old=before, new=after)


def line_changes(old: str, new: str) -> list[LineOut]:
    """Return the lines that differ with a few equal ones around each."""
    before, after = old.splitlines(), new.splitlines()
    groups = SequenceMatcher(None, before, after).get_grouped_opcodes(CONTEXT)
    found: list[LineOut] = []
    for group in groups:
        if group[0][1] > 0 or group[0][3] > 0:
            found.append(LineOut(sign="gap"))
        for opcode in group:
            found += _lines(opcode, before, after)
    return found


def _lines(
    opcode: tuple[str, int, int, int, int], before: Sequence[str], after: Sequence[str]
) -> Iterator[LineOut]:
    tag, old_from, old_to, new_from, new_to = opcode
    if tag == "equal":
        for offset, text in enumerate(before[old_from:old_to]):
            old_number, new_number = old_from + offset + 1, new_from + offset + 1
            yield LineOut(sign="same", text=text, old_number=old_number, new_number=new_number)
        return
    for offset, text in enumerate(before[old_from:old_to]):
        yield LineOut(sign="removed", text=text, old_number=old_from + offset + 1)
    for offset, text in enumerate(after[new_from:new_to]):
        yield LineOut(sign="added", text=text, new_number=new_from + offset + 1)
