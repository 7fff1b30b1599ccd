"""The register of people: who holds cards, checks, decides, administers and audits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.csv_import import (
    CSV_BODY,
    IMPORT_LIMIT,
    DryRun,
    Import,
    ImportOut,
    LineOut,
    Refusal,
    Row,
    Verdict,
    changes_of,
    csv_of,
    read_table,
)
from api.paging import Page, Paging, page
from api.problems import invalid, not_found, problems, refused
from api.routing import OnceRoute, Reading, Transaction
from api.shapes import (
    LINE,
    Email,
    Flag,
    Id,
    In,
    Language,
    Line,
    Login,
    MailDigest,
    Name,
    PersonOut,
    TimeZone,
)
from api.update_shapes import MailOut
from cardflow.db import audit
from cardflow.db.register_identity import (
    close_sessions_of,
    find_person,
    has_second_accounts,
    holds_cards,
    list_people,
    people_by_login,
    person_by_login,
)
from cardflow.db.register_updates import mails_to
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.x509 import sha256_of

router = APIRouter(prefix="/people", tags=["people"], route_class=OnceRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_PEOPLE))]
Admin = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE, Proof.FRESH))]
Roles = Annotated[list[Role], Field(min_length=1, max_length=len(Role))]
Part = Annotated[str, StringConstraints(max_length=100, pattern=LINE)]  # of a name
SID = Annotated[str, StringConstraints(max_length=184, pattern=LINE)]  # as Windows writes one


class PersonIn(In):
    """A person to register; the names are those that certificates will carry."""

    login: Login
    name: Name
    given_name: Part = ""
    surname: Part = ""
    email: Email = ""
    upn: Line = ""
    sid: SID = ""
    organization: Line = ""
    language: Language = "en"
    time_zone: TimeZone = ""
    mail_digest: MailDigest = "off"
    roles: Annotated[Roles, Field(default_factory=lambda: [Role.HOLDER])]


class PersonPatch(In):
    """What to change about a person; what is left out stays."""

    name: Name | None = None
    given_name: Part | None = None
    surname: Part | None = None
    email: Email | None = None
    upn: Line | None = None
    sid: SID | None = None
    organization: Line | None = None
    language: Language | None = None
    time_zone: TimeZone | None = None
    mail_digest: MailDigest | None = None
    roles: Roles | None = None
    active: Flag | None = None
    same_as: Annotated[
        Id | Literal[""] | None,
        Field(description="Whose second account this is: both are one person to all decisions."),
    ] = None


@dataclass(frozen=True)
class Wanted:
    """Which people a list is about; what is left out does not narrow it."""

    search: Annotated[
        str, Query(max_length=100, pattern=LINE, description="In login, name or e-mail.")
    ] = ""
    role: Role | None = None
    active: bool | None = None


@router.get("", operation_id="list_people", responses=problems())
async def show_people(
    _caller: Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    wanted: Annotated[Wanted, Depends()],
) -> Page[PersonOut]:
    """List people."""
    rows = await list_people(
        session,
        after=paging.after("people"),
        limit=paging.limit + 1,
        search=wanted.search,
        role=wanted.role or "",
        active=wanted.active,
    )
    return page("people", rows, paging, lambda row: row.id, PersonOut.model_validate)


@router.post("", status_code=201, operation_id="add_person", responses=problems(409, 413))
async def add_person(body: PersonIn, caller: Admin, session: Transaction) -> PersonOut:
    """Register a person."""
    if await person_by_login(session, body.login):
        raise refused([f"the login {body.login} is taken"])
    person = Person(**_row(body))
    session.add(person)
    await session.flush()
    await _remember(session, caller, "person_added", {"person_id": person.id, "roles": body.roles})
    return PersonOut.model_validate(person)


@router.get("/{person_id:id}", operation_id="show_person", responses=problems(404))
async def show_person(person_id: Id, _caller: Reader, session: Reading) -> PersonOut:
    """Return a person."""
    return PersonOut.model_validate(await _person(session, person_id))


@router.get("/{person_id}/mails", operation_id="list_mails_to_person", responses=problems(404))
async def show_mails_to(
    person_id: Id, _caller: Reader, session: Reading, paging: Annotated[Paging, Depends()]
) -> Page[MailOut]:
    """List the mails to a person and what became of them, the newest first."""
    person, name = await _person(session, person_id), f"mails {person_id}"
    before = _position(paging.after(name))
    rows = await mails_to(session, person.id, before=before, limit=paging.limit + 1)
    return page(
        name, rows, paging, lambda m: f"{m.created_at.isoformat()} {m.id}", MailOut.model_validate
    )


def _position(key: str) -> tuple[datetime, str] | None:
    if not key:
        return None
    at, _, mail_id = key.partition(" ")
    try:
        return datetime.fromisoformat(at), mail_id
    except ValueError:
        raise invalid("cursor", "it is not one that this list gave") from None


@router.patch("/{person_id:id}", operation_id="change_person", responses=problems(404, 409, 413))
async def change_person(
    person_id: Id, body: PersonPatch, caller: Admin, session: Transaction
) -> PersonOut:
    """Change a person; disabling one ends their sign-ins."""
    person = await _person(session, person_id)
    changes = body.model_dump(exclude_none=True)
    found = _objections(caller, person, changes)
    if same_as := changes.get("same_as"):
        found += await _account_objections(session, caller, person, same_as)
    if found:
        raise refused(found)
    _apply(person, changes)
    if not person.active:
        await close_sessions_of(session, person.id)
    # Names and addresses stay out of the chain: it can never forget them again.
    facts = {"person_id": person.id, "changed": sorted(changes), "roles": person.roles}
    await _remember(session, caller, "person_changed", facts)
    return PersonOut.model_validate(person)


@router.post(
    "/import",
    operation_id="import_people",
    responses=problems(409, 413, 415),
    openapi_extra=CSV_BODY,
    max_body_size=IMPORT_LIMIT,
)
async def import_people(
    request: Request, caller: Admin, session: Transaction, dry_run: DryRun = False
) -> ImportOut:
    """Register or change the people of a CSV file by login; bad lines are refused one by one."""
    content = await csv_of(request)
    done = await people_in(content, caller, dry_run=dry_run).run(session)
    if not dry_run:
        await remember_import(session, caller, content, done)
    return done


def people_in(content: bytes, caller: Caller, *, dry_run: bool) -> Import[PersonIn]:
    """Return the import of a file, or raise Problem when it cannot be read as a whole."""

    async def judge(session: AsyncSession, rows: Sequence[Row[PersonIn]]) -> list[Verdict]:
        known = await people_by_login(session, [row.value.login for row in rows])
        return [_verdict(caller, row, known.get(row.value.login)) for row in rows]

    return Import(read_table(content, PersonIn, key="login"), Person, judge, dry_run)


async def remember_import(
    session: AsyncSession, caller: Caller, content: bytes, done: ImportOut
) -> None:
    """Leave the import in the audit trail."""
    facts = {"created": done.created, "updated": done.updated, "sha256": sha256_of(content)}
    await _remember(session, caller, "people_imported", facts)


def _verdict(caller: Caller, row: Row[PersonIn], person: Person | None) -> Verdict:
    login = row.value.login
    if person is None:
        told = LineOut(line=row.line, key=login, what="created")
        return Verdict(told, new=_row(row.value))
    given = row.value.model_dump(include=row.columns - {"login"})
    if found := _objections(caller, person, given):
        return Verdict(
            refused=tuple(Refusal(line=row.line, field="roles", reason=o) for o in found)
        )
    changes = changes_of(person, given)
    what: Any = "updated" if changes else "unchanged"
    told = LineOut(line=row.line, key=login, what=what, changes=changes)
    return Verdict(told, change=lambda: _apply(person, given))


async def _person(session: AsyncSession, person_id: str) -> Person:
    person = await find_person(session, person_id)
    if person is None:
        raise not_found("person")
    return person


def _row(body: PersonIn) -> dict[str, Any]:
    rest = {"password_hash": "", "must_change_password": False, "active": True}
    return {"id": new_id(), "created_at": utc_now(), **rest, **body.model_dump()}


def _objections(caller: Caller, person: Person, changes: dict[str, Any]) -> list[str]:
    if person.id != caller.id:
        return []
    found = []
    if changes.get("active") is False:
        found.append("you cannot disable yourself; another administrator can")
    if Role.ADMIN not in changes.get("roles", [Role.ADMIN]):
        found.append("you cannot stop being an administrator; another one can end it")
    return found


async def _account_objections(
    session: AsyncSession, caller: Caller, person: Person, same_as: str
) -> list[str]:
    """Return why the account cannot be another person's second one."""
    first = await find_person(session, same_as)
    found = []
    if first is None or first.id == person.id or first.same_as:
        found.append("same_as: name the first account of the same person")
    if await holds_cards(session, person.id):
        found.append("this account holds cards: give them to the first one before")
    if await has_second_accounts(session, person.id):
        found.append("this account has a second one itself")
    if caller.person in (person.id, same_as):
        found.append("another administrator must say which accounts are yours")
    return found


def _apply(person: Person, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(person, name, value if name != "same_as" else value or None)


async def _remember(
    session: AsyncSession, caller: Caller, kind: str, facts: dict[str, Any]
) -> None:
    await audit.append(session, audit.Entry(kind, utc_now(), actor=caller.id, facts=facts))
