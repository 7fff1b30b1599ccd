"""What goes in is closed and short; what comes out is a shape of its own."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from cardflow.model import Role
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


Id = Annotated[str, StringConstraints(max_length=36, pattern=r"^[0-9a-fA-F-]+$")]
Login = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}$")]
Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^$|^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")
]
Language = Annotated[str, StringConstraints(pattern="^[a-z]{2}$")]
TimeZone = Annotated[str, AfterValidator(known_zone_or_none)]  # IANA name; empty: the house's
MailDigest = Literal["off", "daily"]
Reason = Annotated[str, StringConstraints(max_length=1000)]
Secret = Annotated[str, StringConstraints(max_length=200, strip_whitespace=False)]


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
