"""Policies as people read them: the list, the versions, every rule in words, and what changed."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.auth import may
from api.authorize import Caller, Permission
from api.paging import Paging
from api.policies import (
    NEWEST,
    TOML,
    Admin,
    Name,
    Reader,
    Version,
    show_policies,
    show_profiles,
    show_versions,
)
from api.policy_preview import show_changes, show_samples
from api.problems import not_found
from api.routing import GuardedRoute, Reading
from api.state import Everything, State
from api.web.live import version_of
from api.web.policy_words import PolicyWords
from api.web.render import page, tongue_of
from cardflow.db.register_policies import find_version, newest_version
from cardflow.db.register_trial import cards_under
from cardflow.db.register_updates import names_of
from cardflow.policy_toml import stored_policy

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

Part = Annotated[Paging, Depends()]


@router.get("/policies", name="policies_page")
async def policies_page(
    request: Request, caller: Admin, session: Reading, paging: Part
) -> Response:
    """Return the list of policies."""
    seen = await version_of(session, caller, "everything")
    found = await show_policies(caller, session, paging)
    samples = (await show_samples(caller)).items
    return page(request, "policies/list.html", seen=seen, policies=found, samples=samples)


@router.get("/policies/{name}", name="policy_versions_page")
async def versions_page(
    request: Request, name: Name, caller: Reader, session: Reading, paging: Part
) -> Response:
    """Return a policy's versions, the newest first."""
    found = await show_versions(name, caller, session, Paging(paging.cursor, 200))
    newest = await newest_version(session, name)
    cards = (await cards_under(session, [name])).get(name, 0)
    newest_number = newest.version if newest else 0
    return page(
        request, "policies/versions.html", name=name, found=found, newest=newest_number, cards=cards
    )


@router.get("/policies/{name}/{version}", name="policy_page")
async def policy_page(
    *, request: Request, name: Name, version: Version, _caller: Reader, session: Reading,
    state: Everything,
) -> Response:  # fmt: skip
    """Return one version with every rule in words."""
    row = await find_version(session, name, version)
    newest = await newest_version(session, name)
    if row is None or newest is None:
        raise not_found("policy version")
    return page(
        request,
        "policies/version.html",
        policy=stored_policy(row.document, row.version),
        row=row,
        newest=newest.version,
        author=(await names_of(session, {row.created_by})).get(row.created_by, ""),
        cards=(await cards_under(session, [name])).get(name, 0),
        words=words_of(request, state),
    )


@router.get("/policies/{name}/{version}/toml", name="policy_toml")
async def policy_toml(name: Name, version: Version, _caller: Reader, session: Reading) -> Response:
    """Return one version as a file, as it came."""
    row = await find_version(session, name, version)
    if row is None:
        raise not_found("policy version")
    headers = {"Content-Disposition": f'attachment; filename="{name}-{version}.toml"'}
    return Response(row.document, media_type=TOML, headers=headers)


@router.get("/policies/{name}/{version}/changes", name="policy_changes_page")
async def changes_page(
    *, request: Request, name: Name, version: Version, caller: Reader, session: Reading,
    state: Everything, since: Annotated[int | None, Query(ge=1, le=NEWEST)] = None,
) -> Response:  # fmt: skip
    """Return what differs between two versions."""
    found = await show_changes(name, version, caller, session, since)
    versions = (await show_versions(name, caller, session, Paging(limit=200))).items
    return page(
        request,
        "policies/changes.html",
        changes=found,
        name=name,
        version=version,
        versions=[one.version for one in versions],
        words=words_of(request, state),
    )


@router.get("/profiles", name="profiles_page")
async def profiles_page(
    request: Request, caller: Annotated[Caller, Depends(may(Permission.SEE_POLICIES))],
    state: Everything,
) -> Response:  # fmt: skip
    """Return the kinds of certificates."""
    found = (await show_profiles(caller, state)).items
    return page(request, "policies/profiles.html", profiles=found, words=words_of(request, state))


def words_of(request: Request, state: State) -> PolicyWords:
    """Return what says policies in the reader's language."""
    return PolicyWords(tongue_of(request), state.profiles)
