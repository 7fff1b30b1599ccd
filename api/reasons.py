"""Why a value was not taken, said to people: what a pattern says in signs is said in words."""

from typing import Any

PATTERNS = {
    "login": "letters, digits and . _ @ + - only, and a letter or digit first",
    "email": "this is no e-mail address",
    "language": "two small letters, such as en or de",
    "policy_name": "small letters, digits and hyphens only",
    "token_serial": "1 to 64 letters, digits and signs, without spaces at the ends",
}
KINDS = {
    "missing": "this is missing",
    "string_too_short": "this is missing",
    "extra_forbidden": "there is no such field",
}


def reason_of(error: Any) -> str:
    """Return the reason of one of pydantic's errors."""
    if error["type"] == "string_pattern_mismatch":
        fields = [PATTERNS[part] for part in error["loc"] if part in PATTERNS]
        return fields[-1] if fields else "it holds a sign that is not taken here"
    if error["type"] == "string_too_long":
        return f"longer than {error['ctx']['max_length']} characters"
    reason: str = KINDS.get(error["type"], error["msg"])
    return reason.removeprefix("Value error, ")
