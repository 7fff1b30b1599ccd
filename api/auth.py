"""Who is asking: a session cookie or a bearer token, told apart and looked up in one place."""

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from api.authorize import Caller, Permission, authorize
from api.problems import Problem
from api.state import AppSettings, State, state_of
from cardflow.db.register_factors import confirmed_factor
from cardflow.db.register_identity import (
    SignIn,
    note_use,
    signed_in_by_api_token,
    signed_in_by_session,
)
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.settings import Settings
from cardflow.sql import transaction

SESSION_PREFIX = "cfs_"
API_TOKEN_PREFIX = "cft_"  # noqa: S105 a prefix, not a token
LONGEST_TOKEN = 100
FRESH_NEEDED = "fresh-sign-in-needed"
CODES_NEEDED = "one-time-codes-needed"


# Only for the API's description: the token is read below, from the cookie too.
Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="A session's token or an API token.")),
]


def new_token(prefix: str) -> str:
    """Return a token of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Return what is kept of a token; it is random, so a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


def cookie_name(settings: Settings) -> str:
    """Return the session cookie's name; the prefix makes browsers insist on Secure and one host."""
    return "__Host-cardflow" if is_https(settings) else "cardflow"


def is_https(settings: Settings) -> bool:
    """Tell whether people reach us by HTTPS."""
    return settings.public_url.startswith("https:")


async def signed_in(request: Request, _shown: Bearer = None) -> Caller:
    """Return who is asking, or raise Problem 401; looked up once per request."""
    known = getattr(request.state, "caller", None)
    if isinstance(known, Caller):
        return known
    caller = await _identify(state_of(request), _token(request))
    request.state.caller = caller
    return caller


SignedIn = Annotated[Caller, Depends(signed_in)]


async def identify_again(request: Request) -> bool:
    """Tell whether whoever asked is still signed in: a long answer must end when that ends."""
    try:
        await _identify(state_of(request), _token(request))
    except Problem:
        return False
    return True


class Proof(StrEnum):
    """How sure a route wants to be of who asks."""

    ANY = "any"  # a sign-in or an API token that is good
    FRESH = "fresh"  # and, of a person, a proof of the last minutes
    IN_PERSON = "in_person"  # such a proof, and no API token


class Requirement:
    """A route's declared permission; as a dependency it yields the caller who has it."""

    def __init__(self, permission: Permission, proof: Proof = Proof.ANY) -> None:
        self.permission, self.proof = permission, proof

    def __call__(self, caller: SignedIn, settings: AppSettings) -> Caller:
        """Return the caller, or raise Problem 403, or 401 when they must prove who they are."""
        if caller.must_change_password and self.permission is not Permission.OWN_ACCOUNT:
            detail = "change your password first: PUT /api/v1/me/password"
            raise Problem(403, detail, slug="password-change-needed")
        if caller.must_set_up_codes and self.permission is not Permission.OWN_ACCOUNT:
            detail = "set up one-time codes first: POST /api/v1/me/second-factor"
            raise Problem(403, detail, slug=CODES_NEEDED)
        authorize(caller, self.permission)
        if self.proof is not Proof.ANY:
            _check_proof(caller, self.proof, settings)
        return caller


def _check_proof(caller: Caller, proof: Proof, settings: Settings) -> None:
    if caller.by_api_token and proof is Proof.FRESH:
        return  # it was made with a fresh sign-in, for machines that have no password to give
    if caller.by_api_token:
        detail = "an API token cannot do this: a person signs in and does it"
        raise Problem(403, detail, slug="person-needed")
    age = timedelta(minutes=settings.fresh_minutes)
    if caller.authenticated_at is None or caller.authenticated_at + age <= utc_now():
        raise _again(age)


def _again(age: timedelta) -> Problem:
    seconds = int(age.total_seconds())
    # RFC 9470 3: which authentication is missing, so that a client can get it and ask again.
    challenge = f'Bearer error="insufficient_user_authentication", max_age="{seconds}"'
    detail = "confirm that it is you: POST /api/v1/session/confirm"
    return Problem(401, detail, slug=FRESH_NEEDED, headers={"WWW-Authenticate": challenge})


def may(permission: Permission, proof: Proof = Proof.ANY) -> Requirement:
    """Return the dependency of a route that needs ``permission``: ``Depends(may(...))``."""
    return Requirement(permission, proof)


async def anybody() -> None:
    """Declare that a route is open to everybody: ``dependencies=[Depends(anybody)]``."""


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if scheme:
        return ""
    return request.cookies.get(cookie_name(state_of(request).settings), "")


async def _identify(state: State, token: str) -> Caller:
    found = await _look_up(state, token) if 0 < len(token) <= LONGEST_TOKEN else None
    if found is None:
        detail = "sign in first: POST /api/v1/session"
        raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
    return Caller(
        id=found.person.id,
        login=found.person.login,
        name=found.person.name,
        roles=frozenset(Role(role) for role in found.roles),
        language=found.person.language,
        time_zone=found.person.time_zone,
        # Whoever came in otherwise has shown more than a temporary password.
        must_change_password=found.person.must_change_password and found.way == "password",
        token_sha256=token_digest(token),
        by_api_token=found.by_api_token,
        way=found.way,
        same_as=found.person.same_as or "",
        authenticated_at=found.authenticated_at,
        must_set_up_codes=found.needs_factor and found.way == "password",
    )


async def _look_up(state: State, token: str) -> SignIn | None:
    digest, now = token_digest(token), utc_now()
    async with transaction(state.reads) as session:
        found = await _find(session, token, digest, now, state.settings)
        if found and state.settings.second_factor_roles & set(found.person.roles):
            factor = await confirmed_factor(session, found.person.id)
            found = replace(found, needs_factor=factor is None)
    if found and found.stale:
        async with transaction(state.sessions) as session:  # no failpoint: the next one notes it
            await note_use(session, digest, by_api_token=found.by_api_token, now=now)
    return found


async def _find(
    session: AsyncSession, token: str, digest: str, now: datetime, settings: Settings
) -> SignIn | None:
    if token.startswith(API_TOKEN_PREFIX):
        return await signed_in_by_api_token(session, digest, now=now)
    if token.startswith(SESSION_PREFIX):
        idle = timedelta(hours=settings.session_idle_hours)
        return await signed_in_by_session(session, digest, now=now, idle=idle)
    return None
