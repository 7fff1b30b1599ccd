"""One-time codes beside the password (RFC 6238): set up, shown, taken away."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.mailing import domain_of, send_soon
from api.problems import invalid, not_found, problems, refused
from api.routing import GuardedRoute, Reading, Transaction
from api.shapes import Filled, Id, In, Out
from api.state import AppKeys, AppSettings, Everything
from cardflow.db import audit
from cardflow.db.notices import queue_notices
from cardflow.db.reencryption import bound_of
from cardflow.db.register_factors import (
    confirmed_factor,
    count_step,
    find_factor,
    put_recovery_codes,
    recovery_codes_left,
    remove_factor,
    use_recovery_code,
)
from cardflow.db.register_identity import close_sessions_of, find_person
from cardflow.db.tables import SecondFactor
from cardflow.decisions import utc_now
from cardflow.key_ring import Ring
from cardflow.mail.letters import CODES_RESET
from cardflow.model import new_id
from cardflow.sealed import seal, unseal
from cardflow.second_factor import (
    DIGITS,
    in_base32,
    new_recovery_codes,
    new_secret,
    recovery_digest,
    setup_uri,
    step_of,
)
from cardflow.settings import Settings
from cardflow.sql import transaction

router = APIRouter(tags=["session"], route_class=GuardedRoute)

Owner = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT))]
Prover = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT, Proof.IN_PERSON))]
Admin = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE, Proof.FRESH))]


class FactorOut(Out):
    """Whether somebody shows one-time codes, and whether they must."""

    confirmed_at: datetime | None
    recovery_codes_left: int
    required: bool


class SetupOut(Out):
    """What an authenticator app is told; shown this once."""

    secret: str  # base32, to be typed
    uri: str  # otpauth, to be shown as a QR code


class CodeIn(In):
    """A one-time code from the app."""

    code: Annotated[str, Field(max_length=20), Filled]


class RecoveryCodesOut(Out):
    """Codes for whoever loses the app; each works once, and they are shown this once."""

    codes: list[str]


@router.get("/me/second-factor", operation_id="show_second_factor", responses=problems())
async def show_factor(caller: Owner, session: Reading, settings: AppSettings) -> FactorOut:
    """Return whether one's sign-ins need a one-time code."""
    row = await confirmed_factor(session, caller.id)
    return FactorOut(
        confirmed_at=row.confirmed_at if row else None,
        recovery_codes_left=await recovery_codes_left(session, caller.id),
        required=is_required(caller, settings),
    )


@router.post(
    "/me/second-factor", status_code=201, operation_id="begin_second_factor",
    responses=problems(409, 413),
)  # fmt: skip
async def begin_factor(
    caller: Prover, session: Transaction, keys: AppKeys, settings: AppSettings
) -> SetupOut:
    """Make a new secret; it counts once a code from it has been confirmed."""
    if await confirmed_factor(session, caller.id):
        raise refused(["one-time codes are set up already; remove them first"])
    secret = new_secret()
    await remove_factor(session, caller.id)
    row = SecondFactor(person_id=caller.id, secret="", created_at=utc_now())
    row.secret = seal(keys.sealing, secret, bound_of(row))
    session.add(row)
    await session.flush()
    return _setup(secret, caller, settings)


async def setup_under_way(
    session: AsyncSession, caller: Caller, ring: Ring, settings: Settings
) -> SetupOut | None:
    """Return what the app is told, while no code has been confirmed yet."""
    row = await find_factor(session, caller.id)
    if row is None or row.confirmed_at:
        return None
    return _setup(unseal(ring, row.secret, bound_of(row)), caller, settings)


@router.post(
    "/me/second-factor/confirm", operation_id="confirm_second_factor", responses=problems(409, 413)
)
async def confirm_factor(
    body: CodeIn, caller: Prover, session: Transaction, keys: AppKeys, settings: AppSettings
) -> RecoveryCodesOut:
    """Have the codes count from now on; other sign-ins, made without one, end."""
    row = await find_factor(session, caller.id)
    if row is None or row.confirmed_at:
        raise refused(["no set-up is under way; begin one"])
    step = _step(row, body.code, keys.sealing, settings.code_drift_steps)
    if step is None:
        raise invalid("code", "it is not the code that the app shows now", "check its clock")
    row.confirmed_at, row.last_step = utc_now(), step
    await close_sessions_of(session, caller.id, but=caller.token_sha256)
    made = await _new_codes(session, caller)
    await _remember(session, "second_factor_set_up", caller, caller.id)
    return made


@router.post(
    "/me/second-factor/recovery-codes", status_code=201, operation_id="make_recovery_codes",
    responses=problems(409, 413),
)  # fmt: skip
async def make_recovery_codes(caller: Prover, session: Transaction) -> RecoveryCodesOut:
    """Make new recovery codes; the earlier ones open nothing any more."""
    if await confirmed_factor(session, caller.id) is None:
        raise refused(["one-time codes are not set up"])
    made = await _new_codes(session, caller)
    await _remember(session, "recovery_codes_made", caller, caller.id)
    return made


@router.delete(
    "/me/second-factor", status_code=204, operation_id="remove_second_factor",
    responses=problems(409),
)  # fmt: skip
async def remove_own_factor(caller: Prover, session: Transaction, settings: AppSettings) -> None:
    """Sign in by password alone again; refused to roles that must show a code."""
    if is_required(caller, settings):
        raise refused(["your role must use one-time codes; an administrator can reset them"])
    if await find_factor(session, caller.id):
        await remove_factor(session, caller.id)
        await _remember(session, "second_factor_removed", caller, caller.id)


@router.delete(
    "/people/{person_id}/second-factor",
    status_code=204,
    operation_id="reset_second_factor",
    tags=["people"],
    responses=problems(404),
)
async def reset_factor(person_id: Id, caller: Admin, state: Everything) -> None:
    """Take a person's second factor away, who lost it; their sign-ins end, and they have a mail."""
    async with transaction(state.sessions) as session:  # no failpoint: left mails are looked after
        person = await find_person(session, person_id)
        if person is None:
            raise not_found("person")
        had_one = await confirmed_factor(session, person_id)
        await remove_factor(session, person_id)
        await close_sessions_of(session, person_id, but=caller.token_sha256)
        await _remember(session, "second_factor_reset", caller, person_id)
        told = [person] if had_one else []
        domain = domain_of(state.settings)
        ids = await queue_notices(session, CODES_RESET, told, now=utc_now(), domain=domain)
    send_soon(state, f"codes/{new_id()}", ids)


def is_required(caller: Caller, settings: Settings) -> bool:
    """Tell whether one of the person's roles must show one-time codes."""
    return bool(settings.second_factor_roles & caller.roles)


async def counts(
    session: AsyncSession, ring: Ring, row: SecondFactor, code: str, *, drift: int
) -> bool:
    """Tell whether a code, or a recovery code, is right; it never is again."""
    typed = "".join(code.split())
    if len(typed) == DIGITS and typed.isdigit():
        step = _step(row, typed, ring, drift)
        if step is None or not await count_step(session, row.person_id, step):
            return False
        # Under the current key again, so that older ones can leave the ring.
        secret = unseal(ring, row.secret, bound_of(row))
        row.secret = seal(ring, secret, bound_of(row))
        return True
    digest = recovery_digest(code)
    used = await use_recovery_code(session, row.person_id, digest, now=utc_now())
    if used:
        entry = audit.Entry("recovery_code_used", utc_now(), actor=row.person_id)
        await audit.append(session, entry)
    return used


def _step(row: SecondFactor, code: str, ring: Ring, drift: int) -> int | None:
    typed = "".join(code.split())
    if not (typed.isascii() and typed.isdigit()):
        return None
    secret = unseal(ring, row.secret, bound_of(row))
    return step_of(secret, typed, now=utc_now(), after=row.last_step, drift=drift)


def _setup(secret: bytes, caller: Caller, settings: Settings) -> SetupOut:
    issuer = f"Cardflow {settings.organisation}"
    return SetupOut(
        secret=in_base32(secret), uri=setup_uri(secret, login=caller.login, issuer=issuer)
    )


async def _new_codes(session: AsyncSession, caller: Caller) -> RecoveryCodesOut:
    codes = new_recovery_codes()
    await put_recovery_codes(session, caller.id, map(recovery_digest, codes))
    return RecoveryCodesOut(codes=codes)


async def _remember(session: AsyncSession, kind: str, caller: Caller, person_id: str) -> None:
    facts = {"person_id": person_id}
    await audit.append(session, audit.Entry(kind, utc_now(), actor=caller.id, facts=facts))
