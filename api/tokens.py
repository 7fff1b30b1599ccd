"""API tokens: how services and scripts sign in, with no more than their person's roles."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from api.auth import API_TOKEN_PREFIX, Proof, may, new_token, token_digest
from api.authorize import Caller, Permission
from api.paging import Page
from api.problems import invalid, not_found, problems
from api.routing import OnceRoute, Reading, Transaction
from api.shapes import AS_NUMBER, Id, In, Name, Out
from cardflow.db import audit
from cardflow.db.register_identity import find_api_token, list_api_tokens
from cardflow.db.tables import ApiToken
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id

router = APIRouter(prefix="/tokens", tags=["tokens"], route_class=OnceRoute)

Owner = Annotated[Caller, Depends(may(Permission.OWN_TOKENS))]
Maker = Annotated[Caller, Depends(may(Permission.OWN_TOKENS, Proof.IN_PERSON))]


class TokenIn(In):
    """A token to make; it can do what its roles can, as long as its person still has them."""

    name: Annotated[Name, Field(max_length=100)]
    roles: Annotated[list[Role], Field(min_length=1, max_length=len(Role))]
    days: Annotated[int, Field(ge=1, le=397), AS_NUMBER] = 90


class TokenOut(Out):
    """A token without its secret."""

    id: str
    name: str
    roles: list[Role]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class NewToken(TokenOut):
    """A token as it is shown this once."""

    token: str


@router.get("", operation_id="list_tokens", responses=problems())
async def show_tokens(caller: Owner, session: Reading) -> Page[TokenOut]:
    """List one's own tokens, the revoked ones too."""
    rows = await list_api_tokens(session, caller.id)
    return Page(items=[TokenOut.model_validate(row) for row in rows])


@router.post("", status_code=201, operation_id="make_token", responses=problems(409, 413))
async def make_token(body: TokenIn, caller: Maker, session: Transaction) -> NewToken:
    """Make a token for oneself."""
    if missing := set(body.roles) - caller.roles:
        raise invalid("roles", f"you do not have: {', '.join(sorted(missing))}")
    token, now = new_token(API_TOKEN_PREFIX), utc_now()
    row = ApiToken(
        id=new_id(),
        token_sha256=token_digest(token),
        person_id=caller.id,
        name=body.name,
        roles=list(body.roles),
        created_at=now,
        expires_at=now + timedelta(days=body.days),
    )
    session.add(row)
    await session.flush()
    facts = {"token_id": row.id, "roles": row.roles}
    await audit.append(session, audit.Entry("token_made", now, actor=caller.id, facts=facts))
    return NewToken(token=token, **TokenOut.model_validate(row).model_dump())


@router.delete("/{token_id}", status_code=204, operation_id="revoke_token", responses=problems(404))
async def revoke_token(token_id: Id, caller: Owner, session: Transaction) -> None:
    """Revoke one's own token; revoking it again changes nothing."""
    row = await find_api_token(session, token_id)
    if row is None or row.person_id != caller.id:
        raise not_found("token")
    if row.revoked_at is None:
        row.revoked_at = utc_now()
        entry = audit.Entry(
            "token_revoked", row.revoked_at, actor=caller.id, facts={"token_id": row.id}
        )
        await audit.append(session, entry)
