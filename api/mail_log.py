"""What became of mails: those about updates, digests and warnings, whatever their fate."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends

from api.auth import may
from api.authorize import Caller, Permission
from api.paging import Page, Paging, page
from api.problems import invalid, problems
from api.routing import GuardedRoute, Reading
from api.shapes import Out
from cardflow.db.mail_queue import list_mails
from cardflow.db.tables import Mail

router = APIRouter(prefix="/mails", tags=["mails"], route_class=GuardedRoute)

Auditor = Annotated[Caller, Depends(may(Permission.SEE_AUDIT))]
Fate = Literal["", "queued", "sent", "failed", "folded"]


class SentMailOut(Out):
    """A mail; ``update_id`` is empty for digests and for warnings about a certificate."""

    id: str
    kind: str
    update_id: str
    certificate_sha256: str
    person_id: str
    address: str
    subject: str
    message_id: str
    state: str
    error: str
    digest_id: str
    created_at: datetime
    sent_at: datetime | None


@router.get("", operation_id="list_all_mails", responses=problems())
async def show_mails(
    _caller: Auditor, session: Reading, paging: Annotated[Paging, Depends()], state: Fate = ""
) -> Page[SentMailOut]:
    """List mails, the newest first; ``state`` picks those that, for example, failed."""
    before = _position(paging.after("mails"))
    rows = await list_mails(session, state=state, before=before, limit=paging.limit + 1)
    return page("mails", rows, paging, _place, SentMailOut.model_validate)


def _place(mail: Mail) -> str:
    return f"{mail.created_at.isoformat()} {mail.id}"


def _position(key: str) -> tuple[datetime, str] | None:
    if not key:
        return None
    try:
        at, mail_id = key.split(" ", 1)
        return datetime.fromisoformat(at), mail_id
    except ValueError:
        raise invalid("cursor", "it is not one that this list gave") from None
