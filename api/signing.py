"""Signing a form with the card: which certificate signs, and the visit that asks the card to."""

from dataclasses import dataclass, replace

from api.actions import Taken, said_before, take
from api.authorize import Caller
from api.form_printing import Printed, print_form
from api.idempotency import id_for
from api.problems import refused
from api.signers import signer_on_card
from api.state import State
from api.update_views import Looked
from api.visits import new_visit
from cardflow.decisions import utc_now
from cardflow.documents.texts import TEXTS
from cardflow.lifecycle import form_signature
from cardflow.model import (
    Act,
    Action,
    CertificateOnCard,
    DocumentKind,
    FormSignature,
    FormToSign,
    Lane,
    Role,
    Visit,
)
from cardflow.policy import ON_PAPER
from cardflow.sql import transaction

CHANGED = "the form changed since it was shown; look at it again"
NO_CERTIFICATE = (
    "no certificate on your card can sign: it needs a valid one of this organisation for signature"
    " or sign-in, with its key; sign this form on paper, or ask your operator"
)
KEYS = {DocumentKind.REQUEST_FORM: "request_title", DocumentKind.CERTIFICATE_FORM:
        "certificate_title"}  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """Who wants to sign the form of which lane, in which language, and what they were shown."""

    caller: Caller
    role: Role
    lane: Lane
    language: str
    seen: str = ""  # the form's SHA-256, when the caller says it
    key: str | None = None


async def start_signing(state: State, looked: Looked, wish: Wish) -> Taken:
    """Have the holder's workstation ask for the PIN and sign, or raise Problem 409."""
    async with transaction(state.reads) as session:
        earlier = await said_before(session, wish.caller, wish.key)
    action = _repeated(earlier, looked, wish) if earlier else await _first(state, looked, wish)
    return await take(state, looked.row.card_id, action)


def _repeated(earlier: Action, looked: Looked, wish: Wish) -> Action:
    """Return the earlier action about what is asked for now; only the same is a repeat."""
    return replace(
        earlier,
        act=Act.SIGN_DOCUMENT,
        update_id=looked.row.id,
        lane=wish.lane.plan.lane,
        digest=wish.seen or earlier.digest,
    )


async def _first(state: State, looked: Looked, wish: Wish) -> Action:
    printed = await _form(state, looked, wish)
    async with transaction(state.reads) as session:
        signer = await signer_on_card(state, session, looked.row.card_id)
        if signer is None:
            raise refused([NO_CERTIFICATE])
        serial = looked.update.token_serial
        visit = await new_visit(session, wish.caller, serial, state.settings)
    return _action(looked, wish, visit, _to_sign(state, wish, printed, signer))


async def _form(state: State, looked: Looked, wish: Wish) -> Printed:
    printed = await print_form(state, looked, wish.lane, wish.language)
    kind = DocumentKind(printed.document.kind)
    if form_signature(wish.lane.plan, kind) is FormSignature.PAPER:
        raise refused([ON_PAPER])
    if wish.seen not in ("", printed.document.sha256):
        raise refused([CHANGED])
    return printed


def _to_sign(state: State, wish: Wish, printed: Printed, signer: CertificateOnCard) -> FormToSign:
    plan, kind = wish.lane.plan, DocumentKind(printed.document.kind)
    profile = state.profiles.get(plan.lane)
    title = f"{TEXTS[wish.language][KEYS[kind]]}: {profile.title if profile else plan.lane}"
    return FormToSign(
        lane=plan.lane,
        revision=wish.lane.revision,
        kind=kind,
        title=title,
        sha256=printed.document.sha256,
        signer=signer.ref,
    )


def _action(looked: Looked, wish: Wish, visit: Visit, form: FormToSign) -> Action:
    return Action(
        id=id_for(wish.caller, wish.key),
        act=Act.SIGN_DOCUMENT,
        update_id=looked.row.id,
        actor=wish.caller.person,
        role=wish.role,
        at=utc_now(),
        lane=form.lane,
        revision=form.revision,
        digest=form.sha256,
        visit=replace(visit, signs=form),
    )
