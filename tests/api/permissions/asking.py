"""What is sent to each route so that nothing but a permission can be in the way."""

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.api.permissions.world import DIGEST, LANE, POLICY, Belongings

PAGE = {"Accept": "text/html"}
WHY = {"reason": "because"}
DECISION = {"verdict": "approve", "digest": DIGEST}
TEXT = {"subject": "Hello", "body": "Hello {name}"}
TOML = {"content": POLICY, "headers": {"Content-Type": "application/toml"}}
CSV = {"headers": {"Content-Type": "text/csv"}}
MADE_UP = "Long enough 1 2 3"

# What a JSON route needs; one that needs nothing is missing.
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/v1/session": {"json": {}},
    "PATCH /api/v1/me": {"json": {}},
    "PUT /api/v1/me/password": {"json": {"old": "1", "new": "short"}},
    "POST /api/v1/session/confirm": {"json": {"password": "wrong"}},
    "POST /api/v1/me/second-factor/confirm": {"json": {"code": "no"}},
    "POST /api/v1/people/{person_id}/password": {"json": {"password": "short"}},
    "POST /api/v1/people": {"json": {"login": "hugo", "name": "Hugo"}},
    "PUT /api/v1/people/{person_id}/identity": {"json": {"subject": "them"}},
    "PATCH /api/v1/people/{person_id}": {"json": {}},
    "POST /api/v1/people/import": CSV | {"content": "login,name\n"},
    "POST /api/v1/tokens": {"json": {"name": "a", "roles": ["holder"]}},
    "POST /api/v1/cards": {"json": {"token_serial": "6875676f"}},
    "PATCH /api/v1/cards/{card_id}": {"json": {}},
    "POST /api/v1/cards/import": CSV | {"content": "token_serial\n"},
    "POST /api/v1/cards/{card_id}/updates": {"json": {"plan_digest": DIGEST}},
    "POST /api/v1/cards/{card_id}/clear": {"json": WHY | {"confirm": "no"}},
    "POST /api/v1/cards/{card_id}/report-lost": {"json": {}},
    "POST /api/v1/updates/{update_id}/continue": {"json": {}},
    "POST /api/v1/updates/{update_id}/cancel": {"json": WHY},
    "POST /api/v1/updates/{update_id}/retry": {"json": {}},
    "POST /api/v1/updates/{update_id}/lanes/{lane}/decisions": {"json": DECISION},
    "POST /api/v1/updates/{update_id}/actions": {"json": {"token": "a.b.c"}},
    "PUT /api/v1/work/{update_id}/{lane}/claim": {"json": {}},
    "PUT /api/v1/policies/{name}/mails/{kind}/{language}": {"json": TEXT},
    "POST /api/v1/policies/{name}/mails/{kind}/{language}/preview": {"json": TEXT},
    "POST /api/v1/policies/{name}/mails/{kind}/{language}/test": {"json": TEXT},
    "POST /api/v1/policies": TOML,
    "POST /api/v1/policies/preview": TOML,
    "POST /api/v1/policies/dry-run": TOML,
    "POST /api/v1/ca/requests/{request_id}/decisions": {"json": DECISION},
    "POST /api/v1/ca/certificates/{serial_number}/revoke": {"json": {"reason": "superseded"}},
    "POST /api/v1/agents/codes": {"json": {}},
    "POST /api/v1/agents/{agent_id}/confirm": {"json": {"words": "no"}},
    "POST /api/v1/audit/checks": {"json": {}},
    "POST /api/v1/updates/{update_id}/lanes/{lane}/signature": {"json": {}},
    "POST /api/v1/updates/{update_id}/lanes/{lane}/documents": {
        "files": {"file": ("form.pdf", b"%PDF-1.7", "application/pdf")}
    },
    "POST /pki/ocsp": {"content": b"", "headers": {"Content-Type": "application/ocsp-request"}},
}
# What page forms send: each takes what it knows, so that one form serves them all.
FORM = {
    **WHY,
    **DECISION,
    **TEXT,
    "plan_digest": DIGEST,
    "confirm": "no",
    "version": "0",
    "words": "no",
    "name": "a",
    "login": "nobody",
    "password": MADE_UP,
    "code": "000000",
    "old": MADE_UP,
    "new": MADE_UP,
    "again": MADE_UP,
    "days": "1",
    "roles": "holder",
    "text": POLICY,
    "means": "post",
}
FORMS: dict[str, dict[str, str]] = {
    "POST /sign-in": {"login": "nobody", "password": "x" * 201},  # too long to be looked at
    "POST /sign-in/code": {"half": "no"},
    "POST /account/password": {"old": "1", "new": "short", "again": "short"},
    "POST /updates/{update_id}/lanes/{lane}/documents": {"means": "portal"},
    "POST /work/{update_id}/{lane}/record": {"means": "post"},
    "POST /certificates/{serial_number}": {"reason": "superseded", "confirm": "no"},
}
KINDS = (("/import/people", "people"), ("/import/cards", "cards"), ("/together", "decisions"))
DRAFTS = {"people": b"login,name\n", "cards": b"token_serial\n", "policy": POLICY.encode()}


@dataclass(frozen=True)
class Personal:
    """What a person has that no role reaches: theirs is found by nobody else."""

    sign_in_id: str
    token_id: str
    draft_id: str


def draft_kind(path: str) -> str:
    """Return which kind of draft the address is about."""
    return next((kind for start, kind in KINDS if path.startswith(start)), "policy")


def draft_content(path: str, of: Belongings) -> bytes:
    """Return what the draft holds."""
    kind = draft_kind(path)
    return DRAFTS.get(kind) or json.dumps([[of.update_id, LANE, DIGEST]]).encode()


def address(path: str, of: Belongings, own: Personal, check_id: str) -> str:
    """Return the address of somebody's thing."""
    values = {
        "person_id": of.person_id,
        "card_id": of.card_id,
        "update_id": of.update_id,
        "document_id": of.document_id,
        "agent_id": of.agent_id,
        "lane": LANE,
        "number": "1",
        "name": "rf",
        "version": "1",
        "kind": "ready",
        "language": "en",
        "request_id": f"{of.update_id}:1:{LANE}",
        "serial_number": of.login.encode().hex(),
        "check_id": check_id,
        "request:path": "MAo=",
        "sign_in_id": own.sign_in_id,
        "token_id": own.token_id,
        "draft_id": own.draft_id,
    }
    filled = re.sub(r"\{([^}]*)\}", lambda found: values[found[1]], path)
    return filled + ("?of=nothing" if path == "/events" else "")


def contents(route: str, path: str) -> dict[str, Any]:
    """Return what is sent along, as a client's keyword arguments."""
    if route in BODIES or not is_page(path):
        return dict(BODIES.get(route, {}))
    if not route.startswith("POST"):
        return {"headers": PAGE}
    return {"headers": PAGE, "data": FORMS.get(route, FORM)}


def is_page(path: str) -> bool:
    """Tell whether people look at this address with a browser."""
    return not path.startswith(("/api/", "/agent/", "/pki/", "/healthz", "/readyz", "/metrics"))
