"""A form to the holder's own address, for those who cannot print it from the portal."""

from email.utils import parseaddr
from typing import Annotated

from fastapi import APIRouter, Depends
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from api.auth import may
from api.authorize import Caller, Permission
from api.documents import LaneName, lane_in, looked_at
from api.form_printing import NO_FORM, Printed, awaited_kind, known_language, print_form
from api.idempotency import HEADER, GivenKey, id_for
from api.problems import invalid, problems, refused
from api.routing import GuardedRoute
from api.shapes import Id
from api.state import Everything, State
from api.update_shapes import MailOut
from api.update_views import Looked
from cardflow.db import audit
from cardflow.db.mail_queue import event_asking_for, queue_form
from cardflow.db.register_identity import find_person
from cardflow.db.register_updates import find_mail
from cardflow.db.tables import Mail, Person
from cardflow.decisions import utc_now
from cardflow.errors import Unavailable
from cardflow.failpoints import effect
from cardflow.model import Lane
from cardflow.sql import transaction
from workflows.afterwork import Delivery, mails

NOT_YET = "the form's own event is not on record yet; try again in a moment"

router = APIRouter(tags=["documents"], route_class=GuardedRoute)

Operator = Annotated[Caller, Depends(may(Permission.DECIDE_DOCUMENT))]


@router.post(
    "/updates/{update_id}/lanes/{lane}/form/mail",
    status_code=202,
    operation_id="mail_form",
    responses=problems(404, 409),
)
async def mail_form(
    update_id: Id, lane: LaneName, caller: Operator, state: Everything, key: GivenKey
) -> MailOut:
    """Send the form that the lane waits for to its holder, as a file with the mail."""
    looked = await looked_at(state, caller, update_id, Permission.DECIDE_DOCUMENT)
    wanted = lane_in(looked, lane)
    mail_id = id_for(caller, key and f"{key}\nform by mail")
    async with transaction(state.reads) as session:
        mail = await find_mail(session, mail_id)
    if mail is None:
        mail = await _queued(state, caller, looked, wanted, mail_id)
    elif mail.update_id != looked.row.id:
        raise invalid(HEADER, "this key was used for another request", "use a new key")
    await _deliver(state, mail)
    return MailOut.model_validate(mail)


async def _queued(state: State, caller: Caller, looked: Looked, lane: Lane, mail_id: str) -> Mail:
    async with transaction(state.reads) as session:
        holder = await find_person(session, looked.row.holder_id)
    if holder is None or not (holder.active and holder.email):
        raise refused(["no e-mail address of the holder is on record; print the form instead"])
    printed = await _printed(state, looked, lane, holder)
    _, sender = parseaddr(state.settings.mail_sender)
    async with transaction(state.sessions) as session:  # no failpoint: asked again, it is found
        event = await event_asking_for(session, printed.document)
        if event is None:
            raise Unavailable(NOT_YET)
        domain = sender.rpartition("@")[2]
        mail = await queue_form(
            session, holder, printed.document, event, key=mail_id, domain=domain
        )
        facts = {"lane": lane.plan.lane, "document_id": printed.document.id, "mail_id": mail.id}
        entry = audit.Entry(
            "form_mailed", utc_now(), actor=caller.id, update_id=looked.row.id, facts=facts
        )
        await audit.append(session, entry)
    return mail


async def _printed(state: State, looked: Looked, lane: Lane, holder: Person) -> Printed:
    if looked.row.ended_at or awaited_kind(lane) is None:
        raise refused([NO_FORM])
    language = known_language(holder.language, state.settings.default_language)
    return await print_form(state, looked, lane, language)


async def _deliver(state: State, mail: Mail) -> None:
    """Have the mail on its way; once sent, delivering it again changes nothing."""
    client = await state.temporal.client()
    with effect("api.mail_form"):
        await client.start_workflow(
            Delivery.run,
            mails(mail.id),
            id=f"mail/{mail.update_id}/form/{mail.id}",
            task_queue=state.settings.temporal_task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
