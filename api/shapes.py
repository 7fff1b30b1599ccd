"""What goes in is closed and short; what comes out is a shape of its own."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
)

from cardflow.model import Role
from cardflow.passwords import LONGEST, SHORTEST
from cardflow.settings import known_zone


class In(BaseModel):
    """A request's body: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Out(BaseModel):
    """An answer's body, read from a row's attributes."""

    model_config = ConfigDict(from_attributes=True)


def known_zone_or_none(name: str) -> str:
    """Return the name of a time zone that exists, or nothing."""
    return known_zone(name) if name else name


def number(given: object) -> object:
    """Return what is given, unless it is a number in words or no number at all."""
    if isinstance(given, str | bool):
        msg = "a number is expected"
        raise ValueError(msg)  # noqa: TRY004 pydantic reports only this kind
    return given


def written_out(given: object) -> object:
    """Return an instant as it is given, unless it is a bare number: of what, nobody could tell."""
    if isinstance(given, str) and not WRITTEN.match(given):
        msg = "write it as in RFC 3339, for example 2026-01-31T08:00:00Z"
        raise ValueError(msg)
    return given


Flag = Annotated[bool, Strict()]  # 0 and "no" are not false
AS_NUMBER = BeforeValidator(number)  # stands after the limits, or the description loses them
WRITTEN = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")
Instant = Annotated[AwareDatetime, BeforeValidator(written_out)]
Id = Annotated[str, StringConstraints(max_length=36, pattern=r"^[0-9a-fA-F-]+$")]
Login = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}$")]
# What is cut off at both ends (Unicode White_Space), said so that all dialects agree about it.
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
LINE = r"^[^\x00-\x1f\x7f]*$"
Line = Annotated[str, StringConstraints(max_length=200, pattern=LINE)]
Name = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=200,
        pattern=rf"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f{SPACE}][^\x00-\x1f\x7f]*$",
    ),
]
Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=rf"^$|^[^@\x00-\x1f{SPACE}]+@[^@\x00-\x1f{SPACE}]+$"),
]
Language = Annotated[str, StringConstraints(pattern="^[a-z]{2}$")]
TimeZone = Annotated[str, AfterValidator(known_zone_or_none)]  # IANA name; empty: the house's
MailDigest = Literal["off", "daily"]
Reason = Annotated[str, StringConstraints(max_length=1000)]
Filled = StringConstraints(min_length=1, pattern=f"[^{SPACE}]")
Secret = Annotated[str, StringConstraints(max_length=LONGEST, strip_whitespace=False)]
# The rest of what a password must be is said by ``password_objections``, in a sentence.
NewPassword = Annotated[Secret, Field(json_schema_extra={"minLength": SHORTEST})]


class PersonOut(Out):
    """A person as others see them."""

    id: str
    login: str
    name: str
    given_name: str
    surname: str
    email: str
    upn: str
    sid: str
    organization: str
    language: str
    mail_digest: str
    time_zone: str
    roles: list[Role]
    active: bool
    must_change_password: bool
    same_as: str | None = None  # whose second account this is
    created_at: datetime
