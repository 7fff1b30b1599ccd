"""Which account at the OpenID provider is whose, where no claim says so or an account is new."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.accounts_there import tie, untie
from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.problems import not_found, problems, refused
from api.routing import GuardedRoute, Reading, Transaction
from api.shapes import Id, In, Out
from api.state import AppSettings
from cardflow.db.register_identity import find_person
from cardflow.db.register_sign_in import Account, identity_of, person_of
from cardflow.db.tables import Person
from cardflow.settings import Settings

router = APIRouter(prefix="/people", tags=["people"], route_class=GuardedRoute)

Admin = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE))]
Tier = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE, Proof.FRESH))]


class IdentityIn(In):
    """The account that a person signs in with, by what the provider calls it (`sub`)."""

    subject: Annotated[
        str, Field(min_length=1, max_length=255, pattern=r"^ *[\x21-\x7e][\x20-\x7e]*$")
    ]


class IdentityOut(Out):
    """The account at the provider that a person signs in with."""

    issuer: str
    subject: str
    bound_at: datetime


@router.get("/{person_id}/identity", operation_id="show_identity", responses=problems(404, 409))
async def show_identity(
    person_id: Id, _caller: Admin, session: Reading, settings: AppSettings
) -> IdentityOut:
    """Return the account at the provider that a person signs in with."""
    await _person(session, person_id)
    found = await identity_of(session, person_id, _issuer(settings))
    if found is None:
        raise not_found("account of this person")
    return IdentityOut.model_validate(found)


@router.put("/{person_id}/identity", operation_id="set_identity", responses=problems(404, 409, 413))
async def set_identity(
    person_id: Id, body: IdentityIn, caller: Tier, session: Transaction, settings: AppSettings
) -> IdentityOut:
    """Tie an account at the provider to a person; one that they had before is untied."""
    person, account = await _person(session, person_id), Account(_issuer(settings), body.subject)
    owner = await person_of(session, account)
    if owner is not None and owner.id != person_id:
        raise refused(["this account is another person's; untie it there first"])
    if owner is None:
        await untie(session, account.issuer, person, by=caller.id)
        await tie(session, account, person, by=caller.id)
    return IdentityOut.model_validate(await identity_of(session, person_id, account.issuer))


@router.delete(
    "/{person_id}/identity",
    status_code=204,
    operation_id="remove_identity",
    responses=problems(404, 409),
)
async def remove_identity(
    person_id: Id, caller: Tier, session: Transaction, settings: AppSettings
) -> None:
    """Untie a person's account at the provider; their sign-ins with it end."""
    person = await _person(session, person_id)
    if not await untie(session, _issuer(settings), person, by=caller.id):
        raise not_found("account of this person")


async def _person(session: AsyncSession, person_id: str) -> Person:
    person = await find_person(session, person_id)
    if person is None:
        raise not_found("person")
    return person


def _issuer(settings: Settings) -> str:
    if settings.oidc_issuer is None:
        raise refused(["people do not sign in at an OpenID provider here"])
    return settings.oidc_issuer
