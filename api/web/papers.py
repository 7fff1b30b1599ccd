"""Forms that go to a holder, and documents that come in by other ways than the portal."""

from typing import Annotated, Any

from fastapi import APIRouter, File, Request, Response, UploadFile
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.authorize import Caller
from api.documents import LONGEST_NOTE, Note, hand_in_document
from api.form_mailing import mail_form
from api.problems import Problem, invalid
from api.routing import GuardedRoute, Reading
from api.shapes import Id
from api.state import Everything, State
from api.updates import LaneName, show_update
from api.web.desk import Decider, Key, Short, Text, lane_named
from api.web.render import go, page
from api.web.tongue import N_
from cardflow.db.register_identity import find_person
from cardflow.model import Act, Means

BY_OTHER_MEANS = (Means.POST, Means.MAIL, Means.IN_PERSON)
NOTE = TypeAdapter(Note)

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@router.get("/work/{update_id}/{lane}/record", name="record_page")
async def record_page(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    caller: Decider,
    session: Reading,
    state: Everything,
) -> Response:
    """Return the page on which a document is recorded that came by other means."""
    return await _page(request, caller, session, state, (update_id, lane))


@router.post(
    "/work/{update_id}/{lane}/record",
    name="record_form",
    form_limits={"max_files": 1, "max_fields": 5, "max_part_size": 16 * 1024},
)
async def record(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    caller: Decider,
    session: Reading,
    state: Everything,
    file: Annotated[UploadFile | None, File()] = None,
    means: Short = "",
    note: Text = "",
    key: Key = "",
) -> Response:
    """Record a document on the holder's behalf, with its scan or with a note of where it is."""
    given = {"means": means, "note": note, "key": key}
    try:
        await hand_in_document(
            update_id=update_id,
            lane=lane,
            caller=caller,
            state=state,
            key=key or None,
            file=file if file and file.filename else None,
            means=_means(means),
            note=_note(note),
        )
    except Problem as problem:
        given["key"] = ""  # another file under the same key would be another request
        where = (update_id, lane)
        return await _page(request, caller, session, state, where, problem=problem, given=given)
    return go(request, f"/work/{update_id}/{lane}", N_("The document is recorded."))


@router.post("/work/{update_id}/{lane}/mail", name="mail_form_form")
async def mail(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    caller: Decider,
    session: Reading,
    state: Everything,
    key: Key = "",
) -> Response:
    """Send the form to its holder by mail."""
    try:
        sent = await mail_form(update_id, lane, caller, state, key or None)
    except Problem as problem:
        where = (update_id, lane)
        return await _page(request, caller, session, state, where, problem=problem)
    return go(request, f"/work/{update_id}/{lane}", f"The form is on its way to {sent.address}.")


def _means(given: str) -> Means:
    if given not in BY_OTHER_MEANS:
        raise invalid("means", "say by which means the document came")
    return Means(given)


def _note(given: str) -> str:
    try:
        return NOTE.validate_python(given.replace("\r\n", "\n").strip())
    except ValidationError:
        raise invalid("note", f"text of at most {LONGEST_NOTE} characters") from None


async def _page(
    request: Request,
    caller: Caller,
    session: AsyncSession,
    state: State,
    where: tuple[str, str],
    *,
    problem: Problem | None = None,
    given: dict[str, Any] | None = None,
) -> Response:
    update_id, name = where
    update = await show_update(update_id, caller, session, state)
    lane = lane_named(update, name)
    holder = await find_person(session, update.holder.id)
    return page(
        request,
        "operator/record.html",
        problem=problem,
        given=given,
        update=update,
        lane=lane,
        address=holder.email if holder else "",
        means=BY_OTHER_MEANS,
        may_record=Act.SUBMIT_DOCUMENT in lane.may,
    )
