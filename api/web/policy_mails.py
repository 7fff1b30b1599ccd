"""What mails say under a policy: looked at, changed, previewed, tried."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse

from api.auth import Proof, may
from api.authorize import Permission
from api.idempotency import id_for
from api.mail_texts import (
    delete_mail_text,
    mail_text,
    preview_mail_text,
    save_mail_text,
    trial_of,
    try_out,
)
from api.mails import MOST_CHARACTERS, Admin, Key, Name, show_kinds
from api.problems import NOT_DONE, Problem
from api.routing import Reading
from api.state import Everything
from api.web.account import NAMES
from api.web.forms import FormKey, shown_again
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.mail.letters import Text
from cardflow.sql import transaction

# A mail's own styles stand in it; nothing else may run or load, and it belongs to no origin.
HTML_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

router = APIRouter(prefix="/policies/{name}/mails", route_class=PageRoute, include_in_schema=False)

Words = Annotated[str, Form(max_length=MOST_CHARACTERS)]
Version = Annotated[int, Form(ge=0)]


@dataclass(frozen=True)
class Desk:
    """An administrator with one text before them, and what they typed."""

    request: Request
    key: Key
    caller: Admin
    state: Everything
    subject: Words = ""
    body: Words = ""
    version: Version = 0
    once: Annotated[FormKey, Form(alias="key")] = ""

    @property
    def here(self) -> str:
        """The address of this text."""
        return f"/policies/{self.key.policy_name}/mails/{self.key.kind}/{self.key.language}"

    @property
    def text(self) -> Text:
        """What was typed, with the line ends of ours."""
        return Text(self.subject.strip(), self.body.replace("\r\n", "\n"))

    async def shown(self, **more: Any) -> Response:
        """Return the text's page."""
        async with transaction(self.state.reads) as session:
            found = await mail_text(session, self.state, self.key)
        return page(
            self.request,
            "policies/mail.html",
            mail=found,
            policy=self.key.policy_name,
            names=NAMES,
            here=self.here,
            **more,
        )

    def again(self, error: Exception) -> dict[str, Any]:
        """Return what shows the page again with a reason and everything that was typed."""
        return shown_again(error, self.once, subject=self.subject, body=self.body, typed=True)

    @property
    def typed(self) -> dict[str, Any]:
        """What was typed, to stand in the form again."""
        return {"given": {"subject": self.subject, "body": self.body, "typed": True}}


AtDesk = Annotated[Desk, Depends()]
EDITING = [Depends(may(Permission.MANAGE_POLICIES, Proof.FRESH))]


@router.get("", name="policy_mails_page")
async def kinds_page(request: Request, name: Name, caller: Admin, session: Reading) -> Response:
    """Return every kind of mail with the languages in which the policy has its own text."""
    found = (await show_kinds(name, caller, session)).items
    return page(request, "policies/mails.html", policy=name, kinds=found, names=NAMES)


@router.get("/{kind}/{language}", name="policy_mail_page")
async def text_page(request: Request, key: Key, caller: Admin, state: Everything) -> Response:
    """Return what mails of the kind say."""
    return await Desk(request, key, caller, state).shown()


@router.post("/{kind}/{language}", name="save_mail_form", dependencies=EDITING)
async def save(desk: AtDesk) -> Response:
    """Have mails of the kind say this."""
    try:
        async with transaction(desk.state.sessions) as session:
            await save_mail_text(
                session, desk.state, desk.caller, desk.key, desk.text, seen=desk.version
            )
    except NOT_DONE as error:
        return await desk.shown(**desk.again(error))
    return go(desk.request, desk.here, N_("Mails say this from now on."))


@router.post("/{kind}/{language}/default", name="default_mail_form", dependencies=EDITING)
async def back(desk: AtDesk) -> Response:
    """Return to the words that come along."""
    async with transaction(desk.state.sessions) as session:
        await delete_mail_text(session, desk.caller, desk.key)
    return go(desk.request, desk.here, N_("Mails say the default text again."))


@router.post("/{kind}/{language}/preview", name="preview_mail_form")
async def preview(desk: AtDesk) -> Response:
    """Show a mail with made-up contents, as text."""
    try:
        async with transaction(desk.state.reads) as session:
            seen = await preview_mail_text(session, desk.state, desk.key, desk.text)
    except NOT_DONE as error:
        return await desk.shown(**desk.again(error))
    return await desk.shown(preview=seen, **desk.typed)


@router.post("/{kind}/{language}/html", name="html_mail_form")
async def html(desk: AtDesk) -> Response:
    """Return the mail itself, as a mail program would show it."""
    try:
        async with transaction(desk.state.reads) as session:
            seen = await preview_mail_text(session, desk.state, desk.key, desk.text)
    except Problem as problem:
        return await desk.shown(**desk.again(problem))
    return HTMLResponse(seen.html, headers={"Content-Security-Policy": HTML_POLICY})


@router.post("/{kind}/{language}/test", name="try_mail_form")
async def test(desk: AtDesk) -> Response:
    """Send the mail with made-up contents to whoever asks."""
    state = desk.state
    try:
        async with transaction(state.reads) as session:
            order = await trial_of(session, state, desk.caller, desk.key, desk.text)
        trial_id = id_for(desk.caller, desk.once or None)
        client = await state.temporal.client()
        done = await try_out(client, state.settings.temporal_task_queue, order, trial_id)
    except NOT_DONE as error:
        return await desk.shown(**desk.again(error))
    return await desk.shown(trial=done, **desk.typed)
