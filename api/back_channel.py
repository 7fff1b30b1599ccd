"""The provider says that somebody signed out there (OpenID Connect Back-Channel Logout 1.0)."""

import logging

from api.by_provider import known
from api.id_tokens import farewell
from api.problems import Problem
from api.state import State
from cardflow.db import audit
from cardflow.db.register_sign_in import close_provider_sessions, spend
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.sql import transaction
from cardflow.x509 import sha256_of

log = logging.getLogger(__name__)


async def end_what_is_over(state: State, logout_token: str) -> None:
    """End the sign-ins that a logout token names, or raise Problem 400 for one that is none."""
    provider = known(state)
    try:
        over = farewell(await provider.signed(logout_token), provider.issuer, provider.client_id)
    except Refused as refusal:
        raise _refused(str(refusal)) from None
    once = sha256_of(f"{provider.issuer}\0{over.id}".encode())
    async with transaction(state.sessions) as session:
        if not await spend(session, once, until=over.until):
            raise _refused("it was shown before (jti)")
        whose = await close_provider_sessions(
            session, provider.issuer, subject=over.subject, provider_session=over.session
        )
        for person_id in sorted(set(whose)):
            facts = {"person_id": person_id, "by": "provider"}
            await audit.append(session, audit.Entry("sign_ins_ended", utc_now(), facts=facts))


def _refused(why: str) -> Problem:
    log.warning("a logout token is refused: %s", why)
    return Problem(400, "this is no logout token that we take")
