"""The pages of documents as pictures: people look at these, not at a file that somebody sent."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response

from api.documents import CONTENT_POLICY, Reader, content_of, visible_document
from api.problems import not_found, problems
from api.routing import GuardedRoute, Reading
from api.shapes import Id
from api.state import Everything
from cardflow.db.tables import Document
from cardflow.documents.pictures import SHOWN, Size, picture_of
from cardflow.sql import let_go

NOT_CHANGED = 304
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "The page, no larger than asked for"},
    NOT_CHANGED: {"description": "It is the one that you have"},
    **problems(404, 409),
}

router = APIRouter(tags=["documents"], route_class=GuardedRoute)

Number = Annotated[int, Path(ge=1, le=1000)]


@router.get(
    "/documents/{document_id}/pages/{number}",
    operation_id="show_document_page",
    response_class=Response,
    responses=ANSWERS,
)
async def show_page(
    *,
    document_id: Id,
    number: Number,
    caller: Reader,
    session: Reading,
    state: Everything,
    size: Size = Size.PAGE,
    if_none_match: Annotated[str, Header(max_length=200)] = "",
) -> Response:
    """Return a page as a picture; without one, a record of paper that is kept elsewhere."""
    document = await visible_document(session, caller, document_id)
    if number > pages_in(document):
        raise not_found("page")
    # The same bytes make the same picture: the browser that asked may keep it, nobody else.
    kept = f'"{document.sha256[:32]}-{number}-{size}"'
    headers = {"ETag": kept, "Cache-Control": "private, max-age=600"}
    headers |= {"Content-Security-Policy": CONTENT_POLICY}
    if if_none_match == kept:
        return Response(status_code=NOT_CHANGED, headers=headers)
    await let_go(session)
    picture = await picture_of(await content_of(state, document), number, size)
    return Response(picture, media_type="image/png", headers=headers)


def pages_in(document: Document) -> int:
    """Return how many pages of a document can be looked at."""
    if document.media_type not in SHOWN:
        return 0
    return int(json.loads(document.findings).get("pages", 1))
