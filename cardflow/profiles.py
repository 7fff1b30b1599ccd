"""Profiles are data: read from TOML, refused as a whole with every reason at once."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from cardflow.errors import Refused
from cardflow.model import Approval, Profile, Purpose

SAMPLES = Path(__file__).resolve().parent.parent / "policies" / "profiles.toml"
NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
OID = r"^[0-2](\.(0|[1-9]\d*))+$"
# Usages that a person's certificate may carry; those of a CA (keyCertSign, cRLSign) are not here.
KeyUsage = Literal["digitalSignature", "contentCommitment", "keyEncipherment", "keyAgreement"]
# Powers over other people's certificates: they belong to the CA's own machinery, never to a person.
POWERS = {
    "2.5.29.37.0": "any usage",
    "1.3.6.1.5.5.7.3.9": "signing OCSP replies",
    "1.3.6.1.4.1.311.20.2.1": "requesting certificates for others",
}


def _some_and_distinct(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or len(set(words)) != len(words):
        msg = "at least one entry is needed, and none may stand twice"
        raise ValueError(msg)
    return words


_WORDS = (Field(strict=False), AfterValidator(_some_and_distinct))


class _Entry(BaseModel):
    """One table of the file; field names and words as in ``Profile``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, Field(pattern=NAME, max_length=64)]
    title: Annotated[str, Field(min_length=1, max_length=100)]
    purpose: Annotated[Purpose, Field(strict=False)]
    key_usage: Annotated[tuple[KeyUsage, ...], *_WORDS]
    extended_key_usage: Annotated[tuple[Annotated[str, Field(pattern=OID)], ...], *_WORDS]
    subject_alt_names: Annotated[tuple[Literal["upn", "email"], ...], *_WORDS]
    sid_extension: bool = False
    validity_days: Annotated[int, Field(ge=1, le=3650)]
    approval: Annotated[Approval, Field(strict=False)]
    officers_needed: Annotated[int, Field(ge=1, le=5)] = 1

    @model_validator(mode="after")
    def _consistent(self) -> "_Entry":
        if self.approval is Approval.AUTOMATIC and self.officers_needed != 1:
            msg = "officers_needed is for approval = 'officer'"
            raise ValueError(msg)
        if powers := [POWERS[oid] for oid in self.extended_key_usage if oid in POWERS]:
            msg = f"a person's certificate must not allow {', '.join(powers)}"
            raise ValueError(msg)
        return self


def load_profiles(path: Path | None = None) -> dict[str, Profile]:
    """Return the profiles in a TOML file, by name; ``None`` takes the samples."""
    path = path or SAMPLES
    tables = _parsed(path)
    objections = [o for name, table in tables.items() for o in _objections(name, table)]
    if not tables:
        objections = ["no profile is in it"]
    if objections:
        raise Refused(*(f"{path.name}: {objection}" for objection in objections))
    return {name: _profile(name, table) for name, table in tables.items()}


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # tomllib.TOMLDecodeError and UnicodeDecodeError
        raise Refused(f"{path.name}: not TOML in UTF-8: {error}") from error
    except RecursionError:
        raise Refused(f"{path.name}: nested too deep") from None


def _objections(name: str, table: Any) -> list[str]:
    if not isinstance(table, dict):
        return [f"{name}: a table is expected here, not a value"]
    if "name" in table:
        return [f"{name}.name: the table's own name is the profile's name"]
    try:
        _profile(name, table)
    except ValidationError as error:
        return [f"{_where(name, e['loc'])}: {e['msg']}" for e in error.errors()]
    return []


def _profile(name: str, table: dict[str, Any]) -> Profile:
    return Profile(**_Entry.model_validate({"name": name, **table}).model_dump())


def _where(name: str, location: tuple[int | str, ...]) -> str:
    return ".".join([name, *(str(part) for part in location)])
