"""Between a right password and its one-time code: the page carries the password, sealed."""

import json
from datetime import datetime, timedelta

from api.problems import Problem
from api.session import Credentials
from api.state import State
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.sealed import seal, unseal

PATIENCE = timedelta(minutes=5)
BOUND = b"cardflow-half-way-v1"


def half_way(state: State, given: Credentials) -> str:
    """Return what the page carries: nobody but us can read it, for five minutes."""
    told = {**given.model_dump(exclude={"code"}), "until": (utc_now() + PATIENCE).isoformat()}
    return seal(state.keys.sealing, json.dumps(told).encode(), BOUND)


def the_other_half(state: State, half: str, code: str) -> Credentials:
    """Return the credentials that the page carried, with the code; or raise Problem 401."""
    try:
        told = json.loads(unseal(state.keys.sealing, half, BOUND))
        until = datetime.fromisoformat(told.pop("until"))
    except (Refused, ValueError, KeyError, TypeError):
        raise _again() from None
    if until <= utc_now():
        raise _again()
    return Credentials(**told, code=code.strip()[:40])


def _again() -> Problem:
    return Problem(401, "that took too long; sign in again", slug="sign-in-failed")
