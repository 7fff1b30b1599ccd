"""What the provider's tokens must say to be believed: pure checks, after the signature's.

OpenID Connect Core 1.0, 3.1.3.7, and Back-Channel Logout 1.0, 2.6.
"""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeGuard

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError

from cardflow.errors import Refused

LEEWAY_SECONDS = 60  # between the provider's clock and ours
OLDEST_SECONDS = 600  # of a token that is only now shown to us
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_TYPES = ("logout+jwt", "jwt")


@dataclass(frozen=True)
class Expected:
    """What a sign-in's ID token must answer to."""

    issuer: str
    client_id: str
    nonce: str
    asked_at: float
    max_age: int
    again: bool = False
    acr: str = ""


@dataclass(frozen=True)
class Vouched:
    """What the provider vouches for."""

    subject: str
    session: str  # its sid
    authenticated_at: datetime
    claims: Mapping[str, Any] = field(repr=False)


def vouched(token: jwt.Token, tokens: Mapping[str, Any], expected: Expected) -> Vouched:
    """Return what a signed ID token vouches for, or raise Refused with the claim that is wrong."""
    claims = CodeIDToken(
        token.claims,
        token.header,
        {
            "iss": {"essential": True, "value": expected.issuer},
            "aud": {"essential": True, "value": expected.client_id},
            "sub": {"essential": True},
        },
        {
            "nonce": expected.nonce,
            "client_id": expected.client_id,
            "access_token": tokens.get("access_token", ""),
        },
    )
    _judge(claims)
    _must(isinstance(claims["sub"], str) and 0 < len(claims["sub"]) <= 255, "sub")  # noqa: PLR2004 Core 2
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), expected.nonce.encode()):
        raise Refused("its nonce is not ours")
    at = _authenticated_at(claims, expected)
    if expected.again and expected.acr and claims.get("acr") != expected.acr:
        raise Refused(f"its acr is not {expected.acr}")
    sid = str(claims.get("sid", ""))[:255]
    return Vouched(claims["sub"], sid, datetime.fromtimestamp(at, UTC), dict(claims))


def _judge(claims: CodeIDToken) -> None:
    try:
        claims.validate(now=int(time.time()), leeway=LEEWAY_SECONDS)
    except (JoseError, TypeError, ValueError) as error:
        # The description names the claim; values stay out of our log.
        reason = getattr(error, "description", "") or type(error).__name__
        raise Refused(f"its claims do not hold: {reason}") from None
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    # Core 3.1.3.7, 4: a token for several must say whom it was given to.
    _must(len(audience) == 1 or bool(claims.get("azp")), "azp")
    _must(_is_recent(claims), "iat")


def _authenticated_at(claims: Mapping[str, Any], expected: Expected) -> float:
    now, told = time.time(), claims.get("auth_time")
    if told is None:
        if expected.again:
            raise Refused("it does not say when the person signed in there (auth_time)")
        # Core 3.1.2.1 has it said when max_age is asked; who does not is taken at the worst.
        return now - expected.max_age
    _must(_is_number(told) and told <= now + LEEWAY_SECONDS, "auth_time")
    oldest = expected.asked_at - expected.max_age - LEEWAY_SECONDS
    if told < oldest:
        raise Refused("the person signed in there too long ago (auth_time)")
    return min(float(told), now)


@dataclass(frozen=True)
class Farewell:
    """What the provider says is over."""

    id: str
    subject: str
    session: str
    until: datetime  # from then on the token is refused for its age


def farewell(token: jwt.Token, issuer: str, client_id: str) -> Farewell:
    """Return what a signed logout token ends, or raise Refused with what is wrong with it."""
    claims, now = token.claims, time.time()
    audience = claims.get("aud")
    _must(str(token.header.get("typ", "jwt")).lower() in LOGOUT_TYPES, "typ")
    _must(claims.get("iss") == issuer, "iss")
    _must(audience == client_id or (isinstance(audience, list) and client_id in audience), "aud")
    _must(_is_recent(claims), "iat")
    _must(_is_number(claims.get("exp")) and claims["exp"] > now - LEEWAY_SECONDS, "exp")
    events = claims.get("events")
    _must(isinstance(events, dict) and isinstance(events.get(LOGOUT_EVENT), dict), "events")
    _must("nonce" not in claims, "nonce")  # else an ID token could be shown here
    names = [claims.get(name, "") for name in ("jti", "sub", "sid")]
    _must(all(isinstance(name, str) and len(name) <= 255 for name in names), "jti, sub or sid")  # noqa: PLR2004
    _must(bool(names[0]), "jti")
    _must(bool(names[1] or names[2]), "sub and sid")
    until = datetime.fromtimestamp(now + 2 * (OLDEST_SECONDS + LEEWAY_SECONDS), UTC)
    return Farewell(names[0], names[1], names[2], until)


def _is_recent(claims: Mapping[str, Any]) -> bool:
    at, now = claims.get("iat"), time.time()
    if not _is_number(at):
        return False
    return now - OLDEST_SECONDS - LEEWAY_SECONDS < at < now + LEEWAY_SECONDS


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _must(holds: bool, claim: str) -> None:
    if not holds:
        raise Refused(f"its claims do not hold: {claim}")


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim by its name, or by a path of names with dots; None when there is none."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
