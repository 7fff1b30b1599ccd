"""Who may do what to what: one table, one question, and no is the default."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from api.problems import Problem, not_found
from cardflow.model import Role


class Permission(StrEnum):
    """What a route can require; every route names one."""

    OWN_ACCOUNT = "own_account"  # one's own name, password and sign-ins
    OWN_TOKENS = "own_tokens"
    SEE_PEOPLE = "see_people"
    MANAGE_PEOPLE = "manage_people"
    SEE_CARDS = "see_cards"
    MANAGE_CARDS = "manage_cards"
    SEE_CONTENTS = "see_contents"
    OPEN_UPDATE = "open_update"
    CLEAR_CARD = "clear_card"
    REPORT_LOST = "report_lost"
    SEE_UPDATES = "see_updates"
    CONTINUE_UPDATE = "continue_update"
    CANCEL_UPDATE = "cancel_update"
    RETRY_UPDATE = "retry_update"
    SEND_ACTIONS = "send_actions"
    SEE_DOCUMENTS = "see_documents"
    SUBMIT_DOCUMENT = "submit_document"
    WITHDRAW_DOCUMENT = "withdraw_document"
    DECIDE_DOCUMENT = "decide_document"
    SEE_WORK = "see_work"
    SEE_REQUESTS = "see_requests"
    DECIDE_REQUEST = "decide_request"
    SEE_CERTIFICATES = "see_certificates"
    REVOKE_CERTIFICATE = "revoke_certificate"
    SEE_POLICIES = "see_policies"
    MANAGE_POLICIES = "manage_policies"
    SEE_AGENTS = "see_agents"
    MANAGE_AGENTS = "manage_agents"  # enrol, confirm, revoke
    SEE_AUDIT = "see_audit"
    READ_HISTORIES = "read_histories"  # decoded, in Temporal's pages


class Scope(StrEnum):
    """Whose things a permission reaches."""

    OWN = "own"
    ANY = "any"


P = Permission
FOR_ALL = frozenset({P.SEE_POLICIES})
OF_ONES_OWN = frozenset({P.OWN_ACCOUNT, P.OWN_TOKENS})
HOLDERS_OWN = frozenset(
    {
        P.SEE_CARDS,
        P.SEE_CONTENTS,
        P.OPEN_UPDATE,
        P.CLEAR_CARD,
        P.REPORT_LOST,
        P.SEE_UPDATES,
        P.CONTINUE_UPDATE,
        P.CANCEL_UPDATE,
        P.SEE_DOCUMENTS,
        P.SUBMIT_DOCUMENT,
        P.WITHDRAW_DOCUMENT,
        P.SEE_WORK,
        P.SEE_AGENTS,
        P.MANAGE_AGENTS,
    }
)
ANYBODYS: dict[Role, frozenset[Permission]] = {
    Role.HOLDER: frozenset(),
    Role.OPERATOR: frozenset(
        {
            P.SEE_PEOPLE,
            P.SEE_CARDS,
            P.MANAGE_CARDS,
            P.SEE_CONTENTS,
            P.OPEN_UPDATE,
            P.CLEAR_CARD,
            P.REPORT_LOST,
            P.SEE_UPDATES,
            P.CANCEL_UPDATE,
            P.RETRY_UPDATE,
            P.SEE_DOCUMENTS,
            P.SUBMIT_DOCUMENT,
            P.WITHDRAW_DOCUMENT,
            P.DECIDE_DOCUMENT,
            P.SEE_WORK,
            P.SEE_CERTIFICATES,
            P.SEE_AGENTS,
        }
    ),
    Role.OFFICER: frozenset(
        {
            P.SEE_PEOPLE,
            P.SEE_CARDS,
            P.SEE_UPDATES,
            P.SEE_DOCUMENTS,
            P.SEE_WORK,
            P.SEE_REQUESTS,
            P.DECIDE_REQUEST,
            P.SEE_CERTIFICATES,
            P.REVOKE_CERTIFICATE,
        }
    ),
    Role.ADMIN: frozenset(
        {
            P.SEE_PEOPLE,
            P.MANAGE_PEOPLE,
            P.SEE_CARDS,
            P.MANAGE_CARDS,
            P.REPORT_LOST,
            P.SEE_CONTENTS,
            P.SEE_UPDATES,
            P.CANCEL_UPDATE,
            P.RETRY_UPDATE,
            P.SEE_WORK,
            P.SEE_CERTIFICATES,
            P.MANAGE_POLICIES,
            P.SEE_AGENTS,
            P.MANAGE_AGENTS,
            P.SEE_AUDIT,
            P.READ_HISTORIES,
        }
    ),
    Role.AUDITOR: frozenset(
        {
            P.SEE_PEOPLE,
            P.SEE_CARDS,
            P.SEE_CONTENTS,
            P.SEE_UPDATES,
            P.SEE_DOCUMENTS,
            P.SEE_REQUESTS,
            P.SEE_CERTIFICATES,
            P.SEE_AGENTS,
            P.SEE_AUDIT,
            P.READ_HISTORIES,
        }
    ),
    Role.SERVICE: frozenset(
        {P.SEE_PEOPLE, P.SEE_CARDS, P.SEE_UPDATES, P.SEE_CERTIFICATES, P.SEND_ACTIONS}
    ),
}


@dataclass(frozen=True)
class Caller:
    """Who is asking; the roles are those that this sign-in or API token may use."""

    id: str
    login: str
    name: str
    roles: frozenset[Role]
    language: str
    time_zone: str = ""  # IANA name; empty: the house's
    must_change_password: bool = False
    token_sha256: str = ""  # of the session or API token that was shown
    by_api_token: bool = False
    way: str = ""  # in which this person signed in: password provider card
    authenticated_at: datetime | None = None  # of a session: when they last proved who they are
    must_set_up_codes: bool = False  # a role asks for one-time codes, and there are none yet
    same_as: str = ""  # whose second account this is

    @property
    def person(self) -> str:
        """Who decides, whichever of their accounts they use: what four eyes are counted by."""
        return self.same_as or self.id


@dataclass(frozen=True)
class Grant:
    """Why the answer was yes: the role to act in, and whose things it reaches."""

    role: Role
    scope: Scope


def authorize(person: Caller, permission: Permission, thing: object | None = None) -> Grant:
    """Return in which role ``person`` may do this, to ``thing`` if one is given; or raise Problem.

    Without the permission in any role it is a 403. A thing that only its owner may see is a 404
    for everybody else, so that asking tells nothing.
    """
    granted = grants(person, permission)
    if not granted:
        raise Problem(403, f"your roles do not include: {permission.replace('_', ' ')}")
    if thing is None:
        return granted[0]
    if owner_of(thing) == person.id:
        return granted[-1]
    if granted[0].scope is Scope.ANY:
        return granted[0]
    raise not_found(type(thing).__name__.lower())


def grants(person: Caller, permission: Permission) -> list[Grant]:
    """Return every grant of ``permission``, the widest first, the holder's own last."""
    roles = [role for role in Role if role in person.roles]
    reach_any = [Grant(r, Scope.ANY) for r in roles if permission in ANYBODYS[r] | FOR_ALL]
    reach_own = [Grant(r, Scope.OWN) for r in roles if permission in _own(r)]
    return reach_any + reach_own


def owner_of(thing: object) -> str:
    """Return the id of the person a thing belongs to; empty when it belongs to nobody."""
    for attribute in ("holder_id", "person_id"):
        if hasattr(thing, attribute):
            return getattr(thing, attribute) or ""
    return ""


def _own(role: Role) -> frozenset[Permission]:
    return OF_ONES_OWN | HOLDERS_OWN if role is Role.HOLDER else OF_ONES_OWN
