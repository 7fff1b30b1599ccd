"""What mails say under a policy: one resource per kind and language."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.idempotency import GivenKey, id_for
from api.mail_texts import (
    MailKindOut,
    MailTextOut,
    PreviewOut,
    TrialOut,
    delete_mail_text,
    mail_kinds,
    mail_text,
    preview_mail_text,
    save_mail_text,
    text_key,
    trial_of,
    try_out,
)
from api.paging import Page
from api.problems import problems
from api.routing import GuardedRoute, Reading, Transaction
from api.shapes import AS_NUMBER, In
from api.state import Everything, Temporal
from cardflow.mail.compose import LANGUAGES
from cardflow.mail.letters import Text, TextKey
from cardflow.model import MailKind
from cardflow.sql import transaction

MOST_CHARACTERS = 20_000  # more than the longest text, so that the refusal can say by how much

router = APIRouter(prefix="/policies/{name}/mails", tags=["mails"], route_class=GuardedRoute)

Admin = Annotated[Caller, Depends(may(Permission.MANAGE_POLICIES))]
Editor = Annotated[Caller, Depends(may(Permission.MANAGE_POLICIES, Proof.FRESH))]
Name = Annotated[str, Path(max_length=100)]
Language = Annotated[str, Path(max_length=10, json_schema_extra={"enum": [*LANGUAGES]})]
Words = Annotated[str, Field(max_length=MOST_CHARACTERS)]


def _key(name: Name, kind: MailKind, language: Language) -> TextKey:
    return text_key(name, kind, language)


Key = Annotated[TextKey, Depends(_key)]


class TextIn(In):
    """A text to save; ``version`` is the one that was looked at, 0 when there was none."""

    subject: Words
    body: Words
    version: Annotated[int, Field(ge=0), AS_NUMBER] | None = None


class DraftIn(In):
    """A text to look at before it is saved; both empty: what mails say now."""

    subject: Words = ""
    body: Words = ""


@router.get("", operation_id="list_mail_kinds", responses=problems(404))
async def show_kinds(name: Name, _caller: Admin, session: Reading) -> Page[MailKindOut]:
    """List the kinds of mail, each with the languages in which the policy has its own text."""
    return Page(items=await mail_kinds(session, name))


@router.get("/{kind}/{language}", operation_id="show_mail_text", responses=problems(404))
async def show_text(key: Key, _caller: Admin, session: Reading, state: Everything) -> MailTextOut:
    """Return what mails of the kind say by default, and the policy's own text if there is one."""
    return await mail_text(session, state, key)


@router.put("/{kind}/{language}", operation_id="save_mail_text", responses=problems(404, 409, 413))
async def save_text(
    key: Key, body: TextIn, caller: Editor, session: Transaction, state: Everything
) -> MailTextOut:
    """Have mails of the kind say this from now on; refused with every reason by field."""
    text = Text(body.subject, body.body)
    return await save_mail_text(session, state, caller, key, text, seen=body.version)


@router.delete(
    "/{kind}/{language}",
    status_code=204,
    operation_id="delete_mail_text",
    responses=problems(404),
)
async def delete_text(key: Key, caller: Editor, session: Transaction) -> None:
    """Return to the default text; where mails say that already, nothing changes."""
    await delete_mail_text(session, caller, key)


@router.post(
    "/{kind}/{language}/preview", operation_id="preview_mail_text", responses=problems(404, 413)
)
async def preview_text(
    key: Key, body: DraftIn, _caller: Admin, session: Reading, state: Everything
) -> PreviewOut:
    """Return a mail with made-up contents: of the text given, else of what is saved."""
    return await preview_mail_text(session, state, key, Text(body.subject, body.body))


@router.post("/{kind}/{language}/test", operation_id="try_mail_text", responses=problems(404, 413))
async def try_text(
    *,
    key: Key,
    body: DraftIn,
    caller: Admin,
    state: Everything,
    client: Temporal,
    once: GivenKey,
) -> TrialOut:
    """Send a mail with made-up contents to the caller, and return what the relay said."""
    async with transaction(state.reads) as session:
        order = await trial_of(session, state, caller, key, Text(body.subject, body.body))
    queue = state.settings.temporal_task_queue
    return await try_out(client, queue, order, id_for(caller, once))
