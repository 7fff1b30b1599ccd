"""The next version of a policy: a form or the text, a preview, a count of cards, and into force."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData

from api.authorize import Caller
from api.policies import POLICY_LIMIT, Admin, Publisher, judged, put_in_force
from api.policy_preview import previewed, show_samples
from api.policy_trial import Reach, TrialResult, try_on_cards
from api.problems import Problem, invalid, not_found
from api.routing import Reading, Transaction
from api.shapes import Id
from api.state import Everything, State
from api.web import drafts, policy_form
from api.web.policies import words_of
from api.web.progress import carried_out
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.db.register_policies import newest_version
from cardflow.policy_toml import policy_text, stored_policy
from cardflow.sql import transaction

KIND = "policy"
# No policy can be called "-", so these addresses are nobody's.
HERE = "/policies/-"

router = APIRouter(prefix=HERE, route_class=PageRoute, include_in_schema=False)

Word = Annotated[str, Query(max_length=100)]
Text = Annotated[str, Form(max_length=POLICY_LIMIT)]


@router.get("/new", name="policy_editor_page")
async def editor_page(
    *, request: Request, caller: Admin, session: Reading, state: Everything,
    of: Word = "", sample: Word = "", draft: Word = "", text: bool = False,
) -> Response:  # fmt: skip
    """Return the form, or the text, of a policy's next version or of a new policy."""
    start, name = await _start(caller, session, of=of, sample=sample, draft=draft)
    if text:
        return _text_page(request, start, name)
    document = policy_form.document_of(stored_policy(start, 1)) if start else policy_form.blank()
    return _form_page(request, state, document, name)


@router.post("/form", name="policy_form")
async def take_form(
    request: Request, caller: Admin, session: Transaction, state: Everything
) -> Response:
    """Preview what was filled in; or go on with it as text."""
    async with request.form() as form:
        document, name, to = policy_form.given(form), _of(form), form.get("to")
    text = policy_text(document)
    if to == "text":
        return _text_page(request, text, name)
    try:
        return go(request, await _previewed(caller, session, state, text, name))
    except Problem as problem:
        named = policy_form.in_the_form(problem, document)
        return _form_page(request, state, document, name, problem=named)


@router.post("/text", name="policy_text_form")
async def take_text(
    *, request: Request, caller: Admin, session: Transaction, state: Everything,
    text: Text = "", of: Annotated[str, Form(max_length=100)] = "",
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:  # fmt: skip
    """Preview the text that was typed, or the file that was chosen."""
    text = text.replace("\r\n", "\n")
    try:
        text = await _read(file) or text
        return go(request, await _previewed(caller, session, state, text, of))
    except Problem as problem:
        return _text_page(request, text, of, problem=problem)


@router.get("/drafts/{draft_id}", name="policy_draft_page")
async def draft_page(
    *, request: Request, draft_id: Id, caller: Admin, session: Reading, state: Everything,
    cards: Reach = "following",
) -> Response:  # fmt: skip
    """Return what the draft would change, and what it would mean for the cards."""
    return await _draft_page(
        request=request,
        caller=caller,
        session=session,
        state=state,
        draft_id=draft_id,
        cards=cards,
    )


@router.post("/drafts/{draft_id}/count", name="policy_count_form")
async def count(
    *, request: Request, draft_id: Id, caller: Admin, session: Reading, state: Everything,
    cards: Annotated[Reach, Form()] = "following",
) -> Response:  # fmt: skip
    """Count what the draft would mean for the cards."""
    row = await drafts.draft_of(session, caller, KIND, draft_id)
    policy = judged(row.content.decode(), state.profiles)

    async def steps() -> AsyncIterator[tuple[int, int]]:
        async for line in try_on_cards(state, policy, cards):
            yield line.done, line.of
            if line.result:
                await _keep(state, caller, draft_id, line.result)

    return await carried_out(request, steps(), f"{HERE}/drafts/{draft_id}?cards={cards}")


@router.post("/drafts/{draft_id}/put-in-force", name="policy_force_form")
async def force(request: Request, draft_id: Id, caller: Publisher, state: Everything) -> Response:
    """Put the draft in force as the policy's next version."""
    try:
        async with transaction(state.sessions) as session:
            row = await drafts.draft_of(session, caller, KIND, draft_id, alone=True)
            done = await put_in_force(row.content.decode(), caller, session, state)
            drafts.finish(row, {"name": done.name, "version": done.version})
    except Problem as problem:
        if problem.status == 404:  # noqa: PLR2004 HTTP's own number
            raise
        async with transaction(state.reads) as session:
            return await _draft_page(
                request=request,
                caller=caller,
                session=session,
                state=state,
                draft_id=draft_id,
                problem=problem,
            )
    return go(request, f"/policies/{done.name}/{done.version}", N_("This version is in force now."))


async def _start(
    caller: Caller, session: AsyncSession, *, of: str, sample: str, draft: str
) -> tuple[str, str]:
    """Return the text to start from, and the name of the policy whose next version it is."""
    if draft:
        text = (await drafts.draft_of(session, caller, KIND, draft)).content.decode()
        name = stored_policy(text, 1).name
        return text, name if await newest_version(session, name) else ""
    if sample:
        found = {one.name: one.document for one in (await show_samples(caller)).items}
        if sample not in found:
            raise not_found("sample")
        return found[sample], ""
    row = await newest_version(session, of) if of else None
    if of and row is None:
        raise not_found("policy")
    return (row.document, of) if row else ("", "")


async def _previewed(
    caller: Caller, session: AsyncSession, state: State, text: str, of: str
) -> str:
    """Return where the draft can be looked at, or raise Problem with every objection."""
    found = await previewed(text, session, state)
    if of and found.policy.name != of:
        reason = "a version of a policy keeps its name"
        raise invalid("name", reason, f"leave it {of}, or start a new policy")
    row = await drafts.keep(session, caller, KIND, text.encode())
    return f"{HERE}/drafts/{row.id}"


async def _draft_page(
    *, request: Request, caller: Caller, session: AsyncSession, state: State, draft_id: str,
    cards: Reach = "following", problem: Problem | None = None,
) -> Response:  # fmt: skip
    row = await drafts.draft_of(session, caller, KIND, draft_id)
    if row.done_at:
        done = drafts.result_of(row)
        return page(request, "policies/done.html", done=done, problem=problem)
    preview = await previewed(row.content.decode(), session, state)
    return page(
        request,
        "policies/draft.html",
        draft=row,
        preview=preview,
        policy=preview.policy,
        cards=cards,
        trial=drafts.result_of(row).get(cards),
        words=words_of(request, state),
        problem=problem,
    )


async def _keep(state: State, caller: Caller, draft_id: str, result: TrialResult) -> None:
    async with transaction(state.sessions) as session:
        row = await drafts.draft_of(session, caller, KIND, draft_id)
        if not row.done_at:
            found = {**drafts.result_of(row), result.reach: result.model_dump()}
            row.result = json.dumps(found)


async def _read(file: UploadFile | None) -> str:
    if file is None or not file.filename:
        return ""
    content = await file.read(POLICY_LIMIT + 1)
    if len(content) > POLICY_LIMIT:
        raise invalid("file", "it is larger than a policy can be", "256 kB are the most")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid("file", "the file is not UTF-8 text", "save it as UTF-8") from error


def _of(form: FormData) -> str:
    return str(form.get("of", ""))


def _form_page(
    request: Request, state: State, document: policy_form.Document, name: str, **more: Any
) -> Response:
    return page(
        request,
        "policies/form.html",
        document=document,
        rows=policy_form.rows(document, state.profiles),
        policy_fields=policy_form.POLICY,
        profile_fields=policy_form.PROFILE,
        of=name,
        words=words_of(request, state),
        **more,
    )


def _text_page(
    request: Request, text: str, name: str, *, problem: Problem | None = None
) -> Response:
    # Every objection stands beside the text with its line, so the page needs no other alert.
    located = policy_form.in_the_text(problem, text) if problem else []
    status = problem.status if problem else 200
    return page(request, "policies/text.html", status=status, text=text, of=name, located=located)
