"""Signing in and out, and everything about passwords.

Nothing here remembers Idempotency-Keys: a kept digest of such a request could be guessed back.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api.auth import (
    SESSION_PREFIX,
    Proof,
    anybody,
    cookie_name,
    is_https,
    may,
    new_token,
    token_digest,
)
from api.authorize import Caller, Permission
from api.paging import Page
from api.problems import Problem, invalid, not_found, problems, public_problems, refused
from api.routing import GuardedRoute, Reading, Transaction
from api.second_factor import counts
from api.shapes import (
    Flag,
    Id,
    In,
    Language,
    Line,
    MailDigest,
    NewPassword,
    Out,
    PersonOut,
    Secret,
    TimeZone,
)
from api.state import AppSettings, Database, Everything, State
from cardflow.db import audit
from cardflow.db.register_factors import confirmed_factor
from cardflow.db.register_identity import (
    PASSWORD,
    Opening,
    close_session,
    close_sessions_of,
    find_person,
    find_session,
    open_session,
    person_by_login,
    renew_session,
    sessions_of,
)
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.passwords import hash_password, password_objections, verify_password
from cardflow.settings import Settings
from cardflow.sql import Sessions, looking, transaction

router = APIRouter(tags=["session"], route_class=GuardedRoute)

Admin = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE))]
PasswordGiver = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE, Proof.FRESH))]
Owner = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT))]

NO_PASSWORDS = "passwords are not used here; sign in as the sign-in page offers"
CODE_NEEDED, CODE_WRONG = "code-needed", "code-wrong"

log = logging.getLogger(__name__)


Code = Annotated[str, Field(max_length=40)]


class Credentials(In):
    """What a person signs in with; a code only if they have set codes up."""

    login: Line
    password: Secret
    code: Code = ""


class ProofIn(In):
    """What shows that whoever signed in is still the one who asks."""

    password: Secret
    code: Code = ""


class SessionOut(Out):
    """A new sign-in; the token is shown this once."""

    token: str
    person: PersonOut
    expires_at: datetime


class MePatch(In):
    """What a person changes about themselves; what is left out stays."""

    language: Language | None = None
    time_zone: TimeZone | None = None
    mail_digest: MailDigest | None = None


class PasswordChange(In):
    """A person's new password, and the old one as proof."""

    old: Secret
    new: NewPassword


class PasswordIn(In):
    """A password set by an administrator; a temporary one must be changed at the next sign-in."""

    password: NewPassword
    temporary: Flag = True


class SignInOfOut(Out):
    """A sign-in of a person, as administrators see it."""

    user_agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


@router.post(
    "/session",
    status_code=201,
    operation_id="sign_in",
    dependencies=[Depends(anybody)],
    responses=public_problems(401, 403, 413, 422, 429, 503),
)
async def sign_in(
    body: Credentials, request: Request, response: Response, state: Everything
) -> SessionOut:
    """Sign in with a local account."""
    person = await _proven(body, request, state)
    if not person.active:
        raise Problem(403, "this account is disabled; ask an administrator", slug="disabled")
    return await open_for(person, request, response, state)


@router.post("/session/confirm", operation_id="confirm_sign_in", responses=problems(413, 429))
async def confirm_sign_in(
    body: ProofIn, caller: Owner, request: Request, response: Response, state: Everything
) -> SessionOut:
    """Prove again that it is you; the sign-in goes on under a new token."""
    if caller.by_api_token:
        raise Problem(403, "an API token proves nobody; sign in", slug="person-needed")
    proof = Credentials(login=caller.login, password=body.password, code=body.code)
    person = await _proven(proof, request, state)
    token, now = new_token(SESSION_PREFIX), utc_now()
    async with transaction(state.sessions) as session:  # no failpoint: one signs in anew
        # A new token: one that somebody else had learnt does not become a proven one.
        await renew_session(session, caller.token_sha256, new_sha256=token_digest(token), now=now)
        row = await find_session(session, token_digest(token))
        await audit.append(session, audit.Entry("sign_in_confirmed", now, actor=caller.id))
    if row is None:
        raise Problem(401, "this sign-in has ended; sign in again")
    _set_cookie(response, state.settings, token, row.expires_at)
    shown = PersonOut.model_validate(person)
    return SessionOut(token=token, person=shown, expires_at=row.expires_at)


async def _proven(body: Credentials, request: Request, state: State) -> Person:
    """Return who the password, and the code where one is set up, prove; or raise Problem."""
    if not state.settings.local_accounts:
        raise Problem(403, NO_PASSWORDS, slug="no-passwords")
    address = request.client.host if request.client else ""
    state.guesses.count(body.login, address)
    person = await _verified(body, state.reads)
    if person is None:
        log.warning("a sign-in from %s failed", address)
        raise Problem(401, "login or password is wrong", slug="sign-in-failed")
    await _check_code(person, body.code, state, address)
    state.guesses.succeeded(body.login, address)
    return person


async def _check_code(person: Person, code: str, state: State, address: str) -> None:
    async with transaction(state.sessions) as session:  # no failpoint: the next code counts
        factor = await confirmed_factor(session, person.id)
        ring, drift = state.keys.sealing, state.settings.code_drift_steps
        if factor is None or (code and await counts(session, ring, factor, code, drift=drift)):
            return
    if not code:
        # Nothing was guessed yet: asking for the code is no failure.
        state.guesses.take_back(person.login, address)
        raise Problem(401, "a one-time code is needed", slug=CODE_NEEDED)
    log.warning("a one-time code from %s was wrong", address)
    raise Problem(401, "the code is wrong, or was used before", slug=CODE_WRONG)


async def _verified(body: Credentials, reads: Sessions) -> Person | None:
    async with transaction(reads) as session:
        person = await person_by_login(session, body.login)
    kept = person.password_hash if person else ""
    # Argon2 takes tens of milliseconds and all of a core: never on the event loop.
    right = await asyncio.to_thread(verify_password, kept, body.password)
    return person if right else None


async def open_for(
    person: Person,
    request: Request,
    response: Response,
    state: State,
    opening: Opening = PASSWORD,
) -> SessionOut:
    """Leave the person signed in; a sign-in that the browser had before is over."""
    token, now = new_token(SESSION_PREFIX), utc_now()
    before = request.cookies.get(cookie_name(state.settings), "")
    until = now + timedelta(hours=state.settings.session_absolute_hours)
    browser = request.headers.get("user-agent", "")
    async with transaction(state.sessions) as session:  # no failpoint: one signs in anew
        await open_session(
            session,
            person.id,
            token_digest(token),
            now=now,
            until=until,
            user_agent=browser,
            opening=opening,
        )
        await close_session(session, token_digest(before))
        proven = opening.authenticated_at or now
        facts = {"way": opening.way, "authenticated_at": proven.isoformat()}
        await audit.append(session, audit.Entry("signed_in", now, actor=person.id, facts=facts))
    _set_cookie(response, state.settings, token, until)
    return SessionOut(token=token, person=PersonOut.model_validate(person), expires_at=until)


def _set_cookie(response: Response, settings: Settings, token: str, until: datetime) -> None:
    response.set_cookie(
        cookie_name(settings),
        token,
        expires=until,
        path="/",
        secure=is_https(settings),
        httponly=True,
        samesite="lax",
    )


@router.delete("/session", status_code=204, operation_id="sign_out", responses=problems(409))
async def sign_out(
    caller: Owner, response: Response, session: Transaction, settings: AppSettings
) -> None:
    """End this sign-in."""
    if caller.by_api_token:
        raise refused(["an API token is no sign-in; revoke it instead"])
    await close_session(session, caller.token_sha256)
    response.delete_cookie(cookie_name(settings), path="/", secure=is_https(settings))
    # What the browser keeps of pages and pictures goes with the sign-in.
    response.headers["Clear-Site-Data"] = '"cache", "storage"'


@router.get("/me", operation_id="show_me", responses=problems())
async def show_me(caller: Owner, session: Reading) -> PersonOut:
    """Return who is signed in; the roles are those that this sign-in may use."""
    return _as_signed_in(await find_person(session, caller.id), caller)


def _as_signed_in(person: Person | None, caller: Caller) -> PersonOut:
    shown = PersonOut.model_validate(person)
    return shown.model_copy(update={"roles": sorted(caller.roles)})


@router.patch("/me", operation_id="change_me", responses=problems(413))
async def change_me(body: MePatch, caller: Owner, session: Transaction) -> PersonOut:
    """Change one's own language and time zone, and whether documents are told of once a day."""
    person = await find_person(session, caller.id)
    assert person is not None  # noqa: S101 somebody is signed in
    changes = body.model_dump(exclude_none=True)
    for name, value in changes.items():
        setattr(person, name, value)
    facts = {"person_id": person.id, "changed": sorted(changes), "roles": person.roles}
    await audit.append(session, audit.Entry("person_changed", utc_now(), person.id, facts=facts))
    return _as_signed_in(person, caller)


@router.put(
    "/me/password", status_code=204, operation_id="change_my_password", responses=problems(413, 429)
)
async def change_my_password(
    body: PasswordChange, caller: Owner, request: Request, state: Everything
) -> None:
    """Change one's own password; every other sign-in of the person ends."""
    address = request.client.host if request.client else ""
    if caller.by_api_token:
        raise Problem(403, "an API token cannot change a password; sign in")
    if not state.settings.local_accounts:
        raise Problem(403, NO_PASSWORDS, slug="no-passwords")
    if found := password_objections(body.new, (caller.login, caller.name)):
        raise invalid("new", "; ".join(found))  # before it costs a try
    if body.new == body.old:
        raise invalid("new", "it is the old password")
    state.guesses.count(caller.login, address)
    if not await _verified(Credentials(login=caller.login, password=body.old), state.reads):
        raise invalid("old", "it is not your password")
    state.guesses.succeeded(caller.login, address)
    await _set_password(state.sessions, caller, caller.id, body.new, temporary=False)


@router.post(
    "/people/{person_id}/password",
    status_code=204,
    operation_id="set_password",
    tags=["people"],
    responses=problems(404, 409, 413),
)
async def give_password(
    person_id: Id,
    body: PasswordIn,
    caller: PasswordGiver,
    sessions: Database,
    settings: AppSettings,
) -> None:
    """Give a person a new password; their sign-ins end."""
    if not settings.local_accounts:
        raise refused([NO_PASSWORDS])
    await _set_password(sessions, caller, person_id, body.password, temporary=body.temporary)


@router.get(
    "/people/{person_id}/sign-ins",
    operation_id="list_sign_ins_of",
    tags=["people"],
    responses=problems(404),
)
async def show_sign_ins_of(
    person_id: Id, _caller: Admin, session: Reading, settings: AppSettings
) -> Page[SignInOfOut]:
    """List a person's sign-ins that are still good, the one used last first."""
    if await find_person(session, person_id) is None:
        raise not_found("person")
    idle = timedelta(hours=settings.session_idle_hours)
    rows = await sessions_of(session, person_id, now=utc_now(), idle=idle)
    return Page(items=[SignInOfOut.model_validate(row) for row in rows])


@router.delete(
    "/people/{person_id}/sign-ins",
    status_code=204,
    operation_id="end_sign_ins_of",
    tags=["people"],
    responses=problems(404),
)
async def end_sign_ins_of(person_id: Id, caller: Admin, session: Transaction) -> None:
    """End every sign-in of a person; one's own that asks stays."""
    if await find_person(session, person_id) is None:
        raise not_found("person")
    await close_sessions_of(session, person_id, but=caller.token_sha256)
    facts = {"person_id": person_id}
    await audit.append(
        session, audit.Entry("sign_ins_ended", utc_now(), actor=caller.id, facts=facts)
    )


async def _set_password(
    sessions: Database, caller: Caller, person_id: str, password: str, *, temporary: bool
) -> None:
    async with looking(sessions) as session:
        person = await find_person(session, person_id)
        if person is None:
            raise not_found("person")
    about = (person.login, person.name, person.email, person.organization)
    if found := password_objections(password, about):
        raise invalid("password", "; ".join(found))
    kept = await asyncio.to_thread(hash_password, password)
    async with transaction(sessions) as session:  # no failpoint: nothing follows
        person = await find_person(session, person_id)
        if person is None:
            raise not_found("person")
        person.password_hash, person.must_change_password = kept, temporary
        await close_sessions_of(session, person_id, but=caller.token_sha256)
        entry = audit.Entry(
            "password_set", utc_now(), actor=caller.id, facts={"person_id": person_id}
        )
        await audit.append(session, entry)
