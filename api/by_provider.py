"""Signing in at the OpenID provider: out, back, and who that is here."""

import hmac
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from api.accounts_there import NO_ROLE, give_roles, roles_by, whose
from api.authorize import Caller
from api.id_tokens import Expected, Vouched, claim_at, vouched
from api.problems import Problem, not_found
from api.provider import Asked, Provider
from api.sealing import SIGN_IN, Sealer
from api.state import State
from cardflow.db.register_identity import Opening, find_session
from cardflow.db.register_sign_in import Account, spend
from cardflow.db.tables import Person
from cardflow.errors import Refused, Unavailable
from cardflow.settings import Settings
from cardflow.sql import transaction
from cardflow.x509 import sha256_of

PENDING_SECONDS = 600
LOGIN_SECONDS = 60
LONGEST_KEPT = 6_000  # of an ID token that is shown again when the person signs out

log = logging.getLogger(__name__)

START_AGAIN = "this sign-in was begun in another browser, or too long ago; start again"
NOT_BELIEVED = (
    "the answer of the sign-in service cannot be believed; start again, and tell an administrator "
    "if it comes back"
)
NOT_SIGNED_IN = "you did not sign in there; start again"
SOMEBODY_ELSE = "you signed in there as somebody else; sign out here first"


@dataclass(frozen=True)
class Pending:
    """A sign-in that is under way, as the browser carries it, sealed."""

    state: str
    nonce: str
    verifier: str
    asked_at: float
    next: str
    person_id: str = ""  # who signs in again; empty: nobody is signed in yet


@dataclass(frozen=True)
class Arrival:
    """Somebody who came back from the provider and may come in."""

    person: Person
    opening: Opening
    next: str


async def set_out(state: State, next: str, person_id: str = "") -> tuple[str, str]:
    """Return where the browser goes, and what it carries there and back.

    With ``person_id`` that person must sign in there anew, however they are signed in already.
    """
    provider, settings = known(state), state.settings
    pending = Pending(_random(), _random(), _random(), time.time(), next, person_id)
    address = await provider.address(
        Asked(
            state=pending.state,
            nonce=pending.nonce,
            verifier=pending.verifier,
            # What counts is that auth_time lies after the question. Zero would say so too, but
            # Canaille 0.3.6 then finds every sign-in too old by the time it looks, for ever.
            max_age=_max_age(settings, pending) or LOGIN_SECONDS,
            again=bool(person_id),
        )
    )
    return address, _sealer(state).seal(json.dumps(asdict(pending)).encode(), "pending")


async def arrive(state: State, carried: str, answer: Mapping[str, str]) -> Arrival:
    """Return who came back from the provider, or raise Problem with what helps.

    The order matters: 1. the browser is the one that set out, 2. the answer is this provider's,
    3. for the first time, 4. its code is redeemed and its token believed, 5. the person is found.
    """
    provider, pending = known(state), _pending(state, carried)
    if not hmac.compare_digest(answer.get("state", "").encode(), pending.state.encode()):  # 1
        raise _unbelieved("its state is not ours", START_AGAIN)
    metadata = await provider.metadata()
    says, must_say = answer.get("iss"), metadata.authorization_response_iss_parameter_supported
    if says != provider.issuer and (says is not None or must_say):  # 2: RFC 9207 2.4
        raise _unbelieved("it is another issuer's (iss)")
    async with transaction(state.sessions) as session:  # no failpoint: one signs in anew
        until = datetime.fromtimestamp(pending.asked_at + PENDING_SECONDS, UTC)
        if not await spend(session, sha256_of(pending.state.encode()), until=until):  # 3
            raise _unbelieved("it was shown before", START_AGAIN)
    if "error" in answer or not answer.get("code"):
        log.info("a sign-in at the provider ended without a code")
        raise Problem(401, NOT_SIGNED_IN, slug="sign-in-failed")
    try:
        found, id_token = await _redeemed(provider, answer["code"], pending, state.settings)  # 4
    except Refused as refusal:
        raise _unbelieved(str(refusal)) from None
    person = await _person(state, provider.issuer, found, pending)  # 5
    kept = (
        _sealer(state).seal(id_token.encode(), "id_token") if len(id_token) < LONGEST_KEPT else ""
    )
    opening = Opening("provider", found.authenticated_at, found.session, kept)
    return Arrival(person, opening, pending.next)


async def _redeemed(
    provider: Provider, code: str, pending: Pending, settings: Settings
) -> tuple[Vouched, str]:
    tokens = await provider.redeem(code, pending.verifier)
    id_token = tokens.get("id_token")
    if not isinstance(id_token, str):
        raise Refused("there is no ID token")
    expected = Expected(
        issuer=provider.issuer,
        client_id=provider.client_id,
        nonce=pending.nonce,
        asked_at=pending.asked_at,
        max_age=_max_age(settings, pending),
        again=bool(pending.person_id),
        acr=settings.oidc_step_up_acr,
    )
    found = vouched(await provider.signed(id_token), tokens, expected)
    wanted = {settings.oidc_match_claim, settings.oidc_roles_claim} - {""}
    if all(claim_at(found.claims, name) is not None for name in wanted):
        return found, id_token
    more = await provider.about(str(tokens.get("access_token", "")))
    if more and more.get("sub") != found.subject:  # Core 5.3.2: else it may be anybody's
        raise Refused("what it says of the person is about another subject")
    return replace(found, claims={**more, **found.claims}), id_token


async def _person(state: State, issuer: str, found: Vouched, pending: Pending) -> Person:
    account, settings = Account(issuer, found.subject), state.settings
    async with transaction(state.sessions) as session:  # no failpoint: one signs in anew
        person = await whose(session, account, found.claims, settings)
        if pending.person_id not in ("", person.id):
            raise Problem(403, SOMEBODY_ELSE, slug="sign-in-failed")
        if settings.oidc_roles_claim:
            await give_roles(session, person, roles_by(found.claims, person.roles, settings))
    if not person.roles:  # only now, so that what the provider took away stays taken
        raise Problem(403, NO_ROLE, slug="no-role")
    return person


def known(state: State) -> Provider:
    """Return the provider, or raise Problem where people do not sign in at one."""
    if state.provider is None:
        raise not_found("way to sign in")
    return state.provider


async def farewell_to(caller: Caller, state: State) -> str:
    """Return where the caller signs out at the provider too; empty: they did not sign in there."""
    async with transaction(state.reads) as session:
        row = await find_session(session, caller.token_sha256)
    if state.provider is None or row is None or row.way != "provider":
        return ""
    try:
        return await state.provider.farewell(_kept_id_token(state, row.id_token))
    except Unavailable:
        return ""  # signing out here must not wait for anybody


def _kept_id_token(state: State, sealed: str) -> str:
    try:
        return _sealer(state).open(sealed, "id_token").decode() if sealed else ""
    except Refused:
        return ""  # its key is gone; the provider then asks the person


def _pending(state: State, carried: str) -> Pending:
    try:
        pending = Pending(**json.loads(_sealer(state).open(carried, "pending")))
    except (Refused, ValueError, TypeError):
        raise _unbelieved("this browser did not set out", START_AGAIN) from None
    if time.time() - pending.asked_at > PENDING_SECONDS:
        raise _unbelieved("it took too long", START_AGAIN)
    return pending


def _max_age(settings: Settings, pending: Pending) -> int:
    # A sign-in there that is older than a session may be does not open a session here.
    return 0 if pending.person_id else settings.session_absolute_hours * 3_600


def _random() -> str:
    return secrets.token_urlsafe(32)


def _sealer(state: State) -> Sealer:
    return Sealer(state.keys.sealing, SIGN_IN)


def _unbelieved(why: str, told: str = NOT_BELIEVED) -> Problem:
    log.warning("an answer of the OpenID provider is refused: %s", why)
    return Problem(401, told, slug="sign-in-failed")
