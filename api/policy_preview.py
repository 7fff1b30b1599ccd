"""Policies before they are in force: what would change, for which cards, and where to start."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from api.paging import Page
from api.policies import (
    NEWEST,
    POLICY_LIMIT,
    TOML_BODY,
    Admin,
    Name,
    Reader,
    Version,
    judged,
    toml_of,
)
from api.policy_changes import ChangeOut, LineOut, key_changes, line_changes
from api.policy_trial import Reach, TrialLine, try_on_cards
from api.problems import invalid, not_found, problems
from api.routing import GuardedRoute, Reading
from api.shapes import LINE, Out
from api.state import Everything, State
from cardflow.db.register_policies import find_version, newest_version
from cardflow.db.tables import PolicyVersion
from cardflow.model import Policy
from cardflow.policy_toml import stored_policy

SAMPLES = Path(__file__).resolve().parent.parent / "policies"

router = APIRouter(tags=["policies"], route_class=GuardedRoute)


class ChangesOut(Out):
    """What differs between two versions, by key and by line."""

    name: str
    since: int | None  # None: there is no earlier version
    by_key: list[ChangeOut]
    by_line: list[LineOut]


class PreviewOut(ChangesOut):
    """What a text would be as the policy's next version; ``same``: it is the newest already."""

    policy: Policy
    same: bool


class SampleOut(Out):
    """A policy to start from."""

    name: str
    title: str
    document: str


@router.get(
    "/policies/{name}/{version}/changes",
    operation_id="show_policy_changes",
    responses=problems(404),
)
async def show_changes(
    name: Name,
    version: Version,
    _caller: Reader,
    session: Reading,
    since: Annotated[
        int | None, Query(ge=1, le=NEWEST, description="Default: the version before.")
    ] = None,
) -> ChangesOut:
    """Return what changed in this version, or since an earlier one."""
    row = await find_version(session, name, version)
    earlier = await find_version(session, name, since or version - 1)
    if row is None or (since and earlier is None):
        raise not_found("policy version")
    return _changes(earlier, stored_policy(row.document, row.version), row.document)


@router.post(
    "/policies/preview",
    operation_id="preview_policy",
    responses=problems(413, 415),
    openapi_extra=TOML_BODY,
    max_body_size=POLICY_LIMIT,
)
async def preview(
    request: Request, _caller: Admin, session: Reading, state: Everything
) -> PreviewOut:
    """Return what a text would change as the policy's next version; nothing is stored."""
    return await previewed(await toml_of(request), session, state)


async def previewed(text: str, session: AsyncSession, state: State) -> PreviewOut:
    """Return what the text would change, or raise Problem with every objection."""
    policy = judged(text, state.profiles)
    newest = await newest_version(session, policy.name)
    changes = _changes(newest, policy, text)
    same = newest is not None and newest.document == text
    return PreviewOut(**changes.model_dump(), policy=policy, same=same)


async def _tried(
    request: Request,
    _caller: Admin,
    session: Reading,
    state: Everything,
    name: Annotated[str, Query(max_length=100, pattern=LINE)] = "",
    version: Annotated[int | None, Query(ge=1, le=NEWEST)] = None,
) -> Policy:
    """Return the policy of the body, or the version that was named."""
    if not name:
        if not await request.body():
            remedy = "send one, or name one that there is"
            raise invalid("body", "there is no policy to try", remedy)
        return judged(await toml_of(request), state.profiles)
    newest = await newest_version(session, name)
    row = await find_version(session, name, version) if version else newest
    if row is None:
        raise not_found("policy version")
    return stored_policy(row.document, row.version)


@router.post(
    "/policies/dry-run",
    operation_id="try_policy",
    responses=problems(404, 413, 415),
    openapi_extra={"requestBody": {**TOML_BODY["requestBody"], "required": False}},
    max_body_size=POLICY_LIMIT,
)
async def dry_run(
    policy: Annotated[Policy, Depends(_tried)], state: Everything, cards: Reach = "following"
) -> AsyncIterator[TrialLine]:
    """Count what a policy would mean for the cards under it, or for all: a line per part."""
    async for line in try_on_cards(state, policy, cards):
        yield line


@router.get("/policy-samples", operation_id="list_policy_samples", responses=problems())
async def show_samples(_caller: Admin) -> Page[SampleOut]:
    """List policies to start from, one for each mode."""
    found = []
    for path in sorted(SAMPLES.glob("*.toml")):
        if path.name != "profiles.toml":
            document = path.read_text("utf-8")
            title = stored_policy(document, 1).title
            found.append(SampleOut(name=path.stem, title=title, document=document))
    return Page(items=found)


def _changes(earlier: PolicyVersion | None, policy: Policy, text: str) -> ChangesOut:
    old = stored_policy(earlier.document, earlier.version) if earlier else None
    return ChangesOut(
        name=policy.name,
        since=earlier.version if earlier else None,
        by_key=key_changes(old, policy) if old else [],
        by_line=line_changes(earlier.document if earlier else "", text),
    )
