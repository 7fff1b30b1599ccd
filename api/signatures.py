"""Signing a form with the card instead of on paper: the holder's click."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import StringConstraints

from api.auth import may
from api.authorize import Caller, Permission, authorize
from api.documents import LaneName, lane_in, looked_at
from api.form_printing import known_language
from api.idempotency import GivenKey
from api.problems import problems
from api.routing import GuardedRoute
from api.shapes import Id, In, Out
from api.signing import Wish, start_signing
from api.state import Everything
from api.update_shapes import VisitOut
from api.update_views import shown_visit
from api.updates import ReplyOut
from cardflow.db.register_updates import certificates_of
from cardflow.model import DocumentKind
from cardflow.sql import transaction

router = APIRouter(tags=["documents"], route_class=GuardedRoute)

Holder = Annotated[Caller, Depends(may(Permission.CONTINUE_UPDATE))]
Digest = Annotated[str, StringConstraints(pattern="^([0-9a-f]{64})?$")]


class SignatureIn(In):
    """The form to sign: by default the one in the caller's language, as it is printed now."""

    language: Literal["en", "de"] | None = None
    sha256: Digest = ""  # of the form that was shown; another one is not signed in its place


class SignedFormOut(Out):
    """What the card signs; the PIN prompt shows the title and the digest's first digits."""

    kind: DocumentKind
    title: str
    sha256: str


class SignerOut(Out):
    """The certificate on the card that signs."""

    subject: str
    profile: str
    serial_number: str
    sha256: str


class SignatureOut(Out):
    """The visit that begins now; when it is over the signed form is handed in, or it says why."""

    reply: ReplyOut
    visit: VisitOut
    form: SignedFormOut
    signer: SignerOut


@router.post(
    "/updates/{update_id}/lanes/{lane}/signature",
    operation_id="sign_document",
    responses=problems(404, 409, 413),
)
async def sign_document(
    *,
    update_id: Id,
    lane: LaneName,
    body: SignatureIn,
    caller: Holder,
    state: Everything,
    key: GivenKey,
) -> SignatureOut:
    """Have the card sign the form that the lane waits for; the workstation asks for the PIN."""
    needed = Permission.CONTINUE_UPDATE
    looked = await looked_at(state, caller, update_id, needed)
    language = known_language(body.language or "", caller.language, state.settings.default_language)
    role = authorize(caller, needed, looked.row).role
    wish = Wish(caller, role, lane_in(looked, lane), language, body.sha256, key)
    taken = await start_signing(state, looked, wish)
    visit = taken.action.visit
    form = visit.signs if visit else None
    assert visit and form  # noqa: S101, PT018 it was journalled with both
    async with transaction(state.reads) as session:
        shown = await shown_visit(session, visit)
        known = await certificates_of(session, looked.row.card_id)
    signer = known[form.signer.certificate_sha256]
    return SignatureOut(
        reply=ReplyOut.model_validate(taken.reply),
        visit=shown,
        form=SignedFormOut(kind=form.kind, title=form.title, sha256=form.sha256),
        signer=SignerOut(
            subject=signer.subject,
            profile=signer.profile,
            serial_number=signer.serial_number,
            sha256=signer.sha256,
        ),
    )
