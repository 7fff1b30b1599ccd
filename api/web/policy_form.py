"""The form for a policy: its fields are the policy's own keys, and it writes its own text."""

import re
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin, get_type_hints

from starlette.datastructures import FormData

from api.problems import FieldProblem, Problem
from cardflow.model import KeyType, Mode, Policy, PolicyProfile

Kind = Literal["text", "number", "check", "choice", "choices", "lines", "table"]
Document = dict[str, Any]
NO, ALWAYS, OPTIONAL = "no", "always", "optional"  # how a profile is used: asked for at once
TABLE = re.compile(r"^\s*\[\[?([a-z_.]+)\]\]?", re.MULTILINE)


@dataclass(frozen=True)
class Field:
    """One key of a policy and how the form asks for it."""

    key: str
    kind: Kind
    options: tuple[str, ...] = ()
    inner: tuple["Field", ...] = ()


def _fields(cls: Any, *but: str) -> tuple[Field, ...]:
    hints = get_type_hints(cls)
    return tuple(_field(one.name, hints[one.name]) for one in fields(cls) if one.name not in but)


def _field(key: str, hint: Any) -> Field:
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return Field(key, "lines") if inner is str else Field(key, "choices", tuple(inner))
    if is_dataclass(hint):
        return Field(key, "table", inner=_fields(hint))
    if issubclass(hint, StrEnum):
        return Field(key, "choice", tuple(hint))
    kinds: dict[type, Kind] = {bool: "check", int: "number", str: "text"}
    return Field(key, kinds[hint])


POLICY = _fields(Policy, "version", "profiles")
PROFILE = tuple(
    sorted(_fields(PolicyProfile, "profile", "mandatory"), key=lambda field: field.kind == "check")
)
FRESH = asdict(PolicyProfile("", Mode.NONE, KeyType.P_256))


def blank() -> Document:
    """Return what the form of a new policy starts with."""
    found: Document = {}
    for one in fields(Policy):
        if one.default is not MISSING:
            found[one.name] = one.default
        elif one.default_factory is not MISSING:
            found[one.name] = asdict(one.default_factory())
    return {"name": "", "title": "", "contact": "", "profiles": [], **found}


def document_of(policy: Policy) -> Document:
    """Return what the form of a version starts with."""
    return {key: value for key, value in asdict(policy).items() if key != "version"}


def rows(document: Document, known: Iterable[str]) -> list[tuple[str, str, Document]]:
    """Return each profile with how it is used and its values, those of the policy first."""
    used = {entry["profile"]: entry for entry in document["profiles"]}
    found = [
        (name, ALWAYS if entry["mandatory"] else OPTIONAL, entry) for name, entry in used.items()
    ]
    return found + [(name, NO, {**FRESH, "profile": name}) for name in known if name not in used]


def given(form: FormData) -> Document:
    """Return what somebody typed; a number that is none stays text, for its key to be refused."""
    names = [str(name) for name in form.getlist("profile")]
    used = [name for name in names if form.get(f"profiles.{name}.use") in (ALWAYS, OPTIONAL)]
    top = {field.key: _value(form, field, "") for field in POLICY if field.kind != "table"}
    tables = {
        field.key: {inner.key: _value(form, inner, f"{field.key}.") for inner in field.inner}
        for field in POLICY
        if field.kind == "table"
    }
    return {**top, "profiles": [_entry(form, name) for name in used], **tables}


def _entry(form: FormData, name: str) -> Document:
    where = f"profiles.{name}."
    mandatory = form.get(f"{where}use") == ALWAYS
    entry = {field.key: _value(form, field, where) for field in PROFILE}
    return {"profile": name, "mandatory": mandatory, **entry}


def _value(form: FormData, field: Field, where: str) -> Any:
    name = where + field.key
    if field.kind == "check":
        return name in form
    if field.kind == "choices":
        return [str(one) for one in form.getlist(name)]
    text = str(form.get(name, "")).strip()
    if field.kind == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if field.kind == "number" and re.fullmatch(r"-?[0-9]{1,9}", text):
        return int(text)
    return text


def in_the_form(problem: Problem, document: Document) -> Problem:
    """Return the problem with each profile's fields named as the form names them."""
    names = [entry["profile"] for entry in document["profiles"]]
    errors = [
        error.model_copy(update={"field": _named(error.field, names)}) for error in problem.errors
    ]
    return Problem(problem.status, problem.detail, *errors, slug=problem.slug)


def _named(field: str, names: list[str]) -> str:
    parts = field.split(".")
    if parts[0] == "profiles" and len(parts) > 1 and parts[1].isdigit():
        parts[1] = names[int(parts[1])]
    return ".".join(parts)


def in_the_text(problem: Problem, text: str) -> list[tuple[int | None, FieldProblem]]:
    """Return each error with the line of the text that it is about, where there is one."""
    errors = problem.errors or [FieldProblem(reason=problem.detail)]
    return [(_line_of(error.field, text), error) for error in errors]


def _line_of(field: str, text: str) -> int | None:
    table, _, key = field.rpartition(".")
    if table == "profiles":
        table, key = field, "profile"
    start, end = _span(table, text) if table else (0, _first_table(text))
    found = re.search(rf"^[ \t]*{re.escape(key)}[ \t]*=", text[start:end], re.MULTILINE)
    if found:
        return text.count("\n", 0, start + found.start()) + 1
    return text.count("\n", 0, start) + 1 if end > start and table else None


def _first_table(text: str) -> int:
    found = TABLE.search(text)
    return found.start() if found else len(text)


def _span(table: str, text: str) -> tuple[int, int]:
    """Return where a table starts and ends: [permissions], or a profile by name or position."""
    heads = [*TABLE.finditer(text)]
    ends = [*(head.start() for head in heads[1:]), len(text)]
    spans = [(h[1], h.start() + len(h[0]) - len(h[0].lstrip()), e)
             for h, e in zip(heads, ends, strict=True)]  # fmt: skip
    name, _, which = table.partition(".")
    same = [(start, end) for found, start, end in spans if found == name]
    if which.isdigit():
        same = same[int(which) : int(which) + 1]
    elif which:
        quoted = re.compile(rf"""profile\s*=\s*["']{re.escape(which)}["']""")
        same = [span for span in same if quoted.search(text[span[0] : span[1]])]
    return same[0] if same else (0, 0)
