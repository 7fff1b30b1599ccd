"""Policies: taken in as TOML, numbered, never changed; and the profiles they can ask for."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.paging import Page, Paging, page
from api.problems import FieldProblem, Problem, invalid, not_found, problems
from api.routing import OnceRoute, Reading, Transaction
from api.shapes import Out
from api.state import Everything, State
from cardflow.db import audit
from cardflow.db.register_policies import (
    find_version,
    list_newest,
    list_versions,
    newest_version,
)
from cardflow.db.register_trial import cards_under
from cardflow.db.register_updates import names_of
from cardflow.db.tables import PolicyVersion
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.model import Policy, Profile
from cardflow.policy_toml import import_policy, stored_policy

TOML = "application/toml"
POLICY_LIMIT = 256 * 1024
SOURCE = "policy"
TOML_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {TOML: {"schema": {"type": "string"}}}}
}

router = APIRouter(tags=["policies"], route_class=OnceRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_POLICIES))]
Admin = Annotated[Caller, Depends(may(Permission.MANAGE_POLICIES))]
Publisher = Annotated[Caller, Depends(may(Permission.MANAGE_POLICIES, Proof.FRESH))]
Name = Annotated[str, Path(max_length=100)]
NEWEST = 2**31 - 1  # what a database takes as a number
Version = Annotated[int, Path(ge=1, le=NEWEST)]


class VersionOut(Out):
    """One version of a policy, without its contents."""

    name: str
    version: int
    title: str
    created_by: str
    author: str = ""  # their name
    created_at: datetime


class PolicyOut(VersionOut):
    """A policy by its newest version, and how many cards follow it."""

    cards: int


class ProfileOut(Out):
    """A kind of certificate that a policy can ask for."""

    name: str
    title: str
    purpose: str
    key_usage: list[str]
    extended_key_usage: list[str]
    subject_alt_names: list[str]
    sid_extension: bool
    validity_days: int
    approval: str
    officers_needed: int


@router.get("/policies", operation_id="list_policies", responses=problems())
async def show_policies(
    _caller: Reader, session: Reading, paging: Annotated[Paging, Depends()]
) -> Page[PolicyOut]:
    """List the policies, each with its newest version."""
    rows = await list_newest(session, after=paging.after("policies"), limit=paging.limit + 1)
    found = page("policies", rows, paging, lambda row: row.name, _version)
    cards = await cards_under(session, [one.name for one in found.items])
    items = await _with_authors(session, found.items)
    policies = [PolicyOut(**one.model_dump(), cards=cards.get(one.name, 0)) for one in items]
    return Page(items=policies, next=found.next)


@router.post(
    "/policies",
    status_code=201,
    operation_id="import_policy",
    responses=problems(409, 413, 415),
    openapi_extra=TOML_BODY,
    max_body_size=POLICY_LIMIT,
)
async def take_in(
    request: Request, caller: Publisher, session: Transaction, state: Everything
) -> VersionOut:
    """Take a policy in as its next version; the same document again stays the version it is."""
    return await put_in_force(await toml_of(request), caller, session, state)


async def put_in_force(
    text: str, caller: Caller, session: AsyncSession, state: State
) -> VersionOut:
    """Leave the text as the policy's newest version, or raise Problem with every objection."""
    policy = judged(text, state.profiles)
    newest = await newest_version(session, policy.name)
    if newest and newest.document == text:
        return _version(newest)
    row = PolicyVersion(
        name=policy.name,
        version=newest.version + 1 if newest else 1,
        document=text,
        created_by=caller.id,
        created_at=utc_now(),
    )
    session.add(row)
    await session.flush()
    facts = {"name": row.name, "version": row.version}
    entry = audit.Entry("policy_imported", row.created_at, actor=caller.id, facts=facts)
    await audit.append(session, entry)
    return _version(row)


@router.get("/policies/{name:policy}", operation_id="list_policy_versions", responses=problems(404))
async def show_versions(
    name: Name, _caller: Reader, session: Reading, paging: Annotated[Paging, Depends()]
) -> Page[VersionOut]:
    """List a policy's versions."""
    after = paging.after_number(f"policy {name}")
    rows = await list_versions(session, name, after=after, limit=paging.limit + 1)
    if not rows and not after:
        raise not_found("policy")
    found = page(f"policy {name}", rows, paging, lambda row: str(row.version), _version)
    return Page(items=await _with_authors(session, found.items), next=found.next)


@router.get(
    "/policies/{name}/{version}",
    operation_id="show_policy",
    response_model=Policy,
    responses={200: {"content": {TOML: {"schema": {"type": "string"}}}}, **problems(404)},
)
async def show_policy(
    name: Name, version: Version, _caller: Reader, session: Reading, request: Request
) -> Policy | Response:
    """Return one version: as JSON, or as the TOML it came as (``Accept: application/toml``)."""
    row = await find_version(session, name, version)
    if row is None:
        raise not_found("policy version")
    if TOML in request.headers.get("accept", ""):
        return Response(row.document, media_type=TOML, headers={"Vary": "Accept"})
    return stored_policy(row.document, row.version)


@router.get("/profiles", operation_id="list_profiles", responses=problems())
async def show_profiles(_caller: Reader, state: Everything) -> Page[ProfileOut]:
    """List the kinds of certificates that a policy can ask for."""
    return Page(items=[ProfileOut(**_lists(profile)) for profile in state.profiles.values()])


async def toml_of(request: Request) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != TOML:
        raise Problem(415, f"send the policy as {TOML}")
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise invalid("body", "the file is not UTF-8 text", "save it as UTF-8") from error


def judged(text: str, profiles: dict[str, Profile]) -> Policy:
    try:
        return import_policy(text, version=1, profiles=profiles, source=SOURCE)
    except Refused as error:
        found = [_objection(sentence) for sentence in error.objections]
        detail = "; ".join(f"{problem.field}: {problem.reason}" for problem in found)
        raise Problem(422, detail, *found, slug="bad-policy") from error


def _objection(sentence: str) -> FieldProblem:
    key, told, reason = sentence.removeprefix(f"{SOURCE}: ").partition(": ")
    return FieldProblem(field=key, reason=reason) if told else FieldProblem(reason=key)


def _version(row: PolicyVersion) -> VersionOut:
    policy = stored_policy(row.document, row.version)
    return VersionOut(
        name=row.name,
        version=row.version,
        title=policy.title,
        created_by=row.created_by,
        created_at=row.created_at,
    )


async def _with_authors(session: AsyncSession, found: Sequence[VersionOut]) -> list[VersionOut]:
    names = await names_of(session, {one.created_by for one in found})
    return [one.model_copy(update={"author": names.get(one.created_by, "")}) for one in found]


def _lists(profile: Profile) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(profile).items()}
