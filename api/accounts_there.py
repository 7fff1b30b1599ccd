"""Who an account at the OpenID provider is here, and which roles it gives."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.id_tokens import claim_at
from api.problems import Problem
from cardflow.db import audit
from cardflow.db.register_identity import close_sessions_of
from cardflow.db.register_sign_in import (
    Account,
    bind,
    close_provider_sessions_of,
    identity_of,
    people_with,
    person_of,
    release,
)
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.settings import Settings
from cardflow.x509 import sha256_of

NOBODY = "your account there belongs to nobody here; ask an administrator"
NOT_VERIFIED = (
    "your e-mail address is not verified there; have it verified, or ask an administrator"
)
TAKEN = "you sign in here with another account there; use that one, or ask an administrator"
NO_ROLE = "your account there gives you no role here; ask an administrator"
DISABLED = "this account is disabled; ask an administrator"


async def whose(
    session: AsyncSession, account: Account, claims: Mapping[str, Any], settings: Settings
) -> Person:
    """Return the person whose account this is, or raise Problem with what helps."""
    person = await person_of(session, account)
    if person is None:
        person = await _matched(session, account, claims, settings)
    if not person.active:
        raise Problem(403, DISABLED, slug="disabled")
    return person


async def _matched(
    session: AsyncSession, account: Account, claims: Mapping[str, Any], settings: Settings
) -> Person:
    """Return the person whose account this is from now on."""
    claim, column = settings.oidc_match_claim, settings.oidc_match_field
    value = claim_at(claims, claim) if claim else None
    if not isinstance(value, str) or not value.strip():
        raise Problem(403, NOBODY, slug="nobody")
    # An address that nobody verified is whatever its owner typed: anybody's.
    if "email" in (claim, column) and claims.get("email_verified") is not True:
        raise Problem(403, NOT_VERIFIED, slug="not-verified")
    found = await people_with(session, column, value)
    if len(found) != 1:
        raise Problem(403, NOBODY, slug="nobody")
    person = found[0]
    if await identity_of(session, person.id, account.issuer):
        raise Problem(403, TAKEN, slug="taken")
    if person.active:
        await tie(session, account, person, by=person.id)
    return person


async def tie(session: AsyncSession, account: Account, person: Person, *, by: str) -> None:
    """Leave the person with this account, and the audit trail with who tied them."""
    now = utc_now()
    await session.refresh(person, with_for_update=True)  # rows first: its roles may change too
    await bind(session, account, person.id, now)
    facts = {"person_id": person.id, "account_sha256": _digest(account)}
    await audit.append(session, audit.Entry("identity_bound", now, actor=by, facts=facts))


async def untie(session: AsyncSession, issuer: str, person: Person, *, by: str) -> bool:
    """Leave the person without an account and its sign-ins; False when there was none."""
    if not await release(session, person.id, issuer):
        return False
    await close_provider_sessions_of(session, person.id)
    facts = {"person_id": person.id}
    await audit.append(session, audit.Entry("identity_released", utc_now(), actor=by, facts=facts))
    return True


def roles_by(claims: Mapping[str, Any], roles: Sequence[str], settings: Settings) -> list[Role]:
    """Return somebody's roles: those that the table names by the claim, all others as they are."""
    named = claim_at(claims, settings.oidc_roles_claim)
    values = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    governed = {role for given in settings.oidc_roles.values() for role in given}
    given = {role for value in values for role in settings.oidc_roles.get(str(value), ())}
    return sorted({Role(role) for role in roles} - governed | given)


async def give_roles(session: AsyncSession, person: Person, roles: list[Role]) -> None:
    """Leave the person with these roles; with none, signed in nowhere."""
    if sorted(person.roles) == roles:
        return
    person.roles = list(roles)
    if not roles:
        await close_sessions_of(session, person.id)
    facts = {"person_id": person.id, "changed": ["roles"], "roles": roles, "by": "provider"}
    await audit.append(session, audit.Entry("person_changed", utc_now(), person.id, facts=facts))


def _digest(account: Account) -> str:
    return sha256_of(f"{account.issuer}\0{account.subject}".encode())
