"""The register of people: who holds cards, checks, decides, administers and audits."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import may
from api.authorize import Caller, Permission
from api.csv_import import (
    CSV_BODY,
    IMPORT_LIMIT,
    ImportOut,
    Refusal,
    Row,
    csv_of,
    read_table,
)
from api.paging import Page, Paging, page
from api.problems import invalid, not_found, problems, refused
from api.routing import OnceRoute, Reading, Transaction
from api.shapes import Email, Id, In, Language, Line, Login, MailDigest, Name, PersonOut, TimeZone
from api.update_shapes import MailOut
from cardflow.db import audit
from cardflow.db.register_identity import (
    close_sessions_of,
    find_person,
    list_people,
    person_by_login,
)
from cardflow.db.register_updates import mails_to
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.x509 import sha256_of

router = APIRouter(prefix="/people", tags=["people"], route_class=OnceRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_PEOPLE))]
Admin = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE))]
Roles = Annotated[list[Role], Field(min_length=1, max_length=len(Role))]


class PersonIn(In):
    """A person to register; the names are those that certificates will carry."""

    login: Login
    name: Name
    given_name: Line = ""
    surname: Line = ""
    email: Email = ""
    upn: Line = ""
    sid: Line = ""
    organization: Line = ""
    language: Language = "en"
    time_zone: TimeZone = ""
    mail_digest: MailDigest = "off"
    roles: Annotated[Roles, Field(default_factory=lambda: [Role.HOLDER])]


class PersonPatch(In):
    """What to change about a person; what is left out stays."""

    name: Name | None = None
    given_name: Line | None = None
    surname: Line | None = None
    email: Email | None = None
    upn: Line | None = None
    sid: Line | None = None
    organization: Line | None = None
    language: Language | None = None
    time_zone: TimeZone | None = None
    mail_digest: MailDigest | None = None
    roles: Roles | None = None
    active: bool | None = None


@router.get("", operation_id="list_people", responses=problems())
async def show_people(
    _caller: Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    search: Annotated[str, Query(max_length=100)] = "",
) -> Page[PersonOut]:
    """List people; ``search`` looks into login, name and e-mail address."""
    rows = await list_people(
        session, after=paging.after("people"), limit=paging.limit + 1, search=search
    )
    return page("people", rows, paging, lambda row: row.id, PersonOut.model_validate)


@router.post("", status_code=201, operation_id="add_person", responses=problems(409, 413))
async def add_person(body: PersonIn, caller: Admin, session: Transaction) -> PersonOut:
    """Register a person."""
    if await person_by_login(session, body.login):
        raise refused([f"the login {body.login} is taken"])
    person = _new(body)
    session.add(person)
    await session.flush()
    await _remember(session, caller, "person_added", {"person_id": person.id, "roles": body.roles})
    return PersonOut.model_validate(person)


@router.get("/{person_id}", operation_id="show_person", responses=problems(404))
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


@router.patch("/{person_id}", operation_id="change_person", responses=problems(404, 409, 413))
async def change_person(
    person_id: Id, body: PersonPatch, caller: Admin, session: Transaction
) -> PersonOut:
    """Change a person; disabling one ends their sign-ins."""
    person = await _person(session, person_id)
    changes = body.model_dump(exclude_none=True)
    if found := _objections(caller, person, changes):
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
async def import_people(request: Request, caller: Admin, session: Transaction) -> ImportOut:
    """Register or change the people of a CSV file by login; bad lines are refused one by one."""
    content = await csv_of(request)
    table = read_table(content, PersonIn)
    done = ImportOut()
    for row in table.rows:
        await _take(session, caller, row, done)
    done.refused = sorted([*table.refused, *done.refused], key=lambda refusal: refusal.line)
    facts = {"created": done.created, "updated": done.updated, "sha256": sha256_of(content)}
    await _remember(session, caller, "people_imported", facts)
    return done


async def _take(session: AsyncSession, caller: Caller, row: Row[PersonIn], done: ImportOut) -> None:
    person = await person_by_login(session, row.value.login)
    if person is None:
        session.add(_new(row.value))
        await session.flush()
        done.created += 1
        return
    changes = row.value.model_dump(include=row.columns - {"login"})
    if found := _objections(caller, person, changes):
        done.refused += [Refusal(line=row.line, field="roles", reason=reason) for reason in found]
        return
    _apply(person, changes)
    done.updated += 1


async def _person(session: AsyncSession, person_id: str) -> Person:
    person = await find_person(session, person_id)
    if person is None:
        raise not_found("person")
    return person


def _new(body: PersonIn) -> Person:
    return Person(id=new_id(), created_at=utc_now(), **body.model_dump())


def _objections(caller: Caller, person: Person, changes: dict[str, Any]) -> list[str]:
    if person.id != caller.id:
        return []
    found = []
    if changes.get("active") is False:
        found.append("you cannot disable yourself; another administrator can")
    if Role.ADMIN not in changes.get("roles", [Role.ADMIN]):
        found.append("you cannot stop being an administrator; another one can end it")
    return found


def _apply(person: Person, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(person, name, value)


async def _remember(
    session: AsyncSession, caller: Caller, kind: str, facts: dict[str, Any]
) -> None:
    await audit.append(session, audit.Entry(kind, utc_now(), actor=caller.id, facts=facts))
