"""Decodes histories for Temporal's pages and command line, for people whose work that is.

It speaks Temporal's protocol for remote codecs, and decodes only: what people decide reaches a
workflow as a signed action, never by hand, so nobody needs anything encoded here.
"""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from pydantic import BaseModel, StringConstraints
from temporalio.api.common.v1 import Payloads

from api.auth import may
from api.authorize import Caller, Permission
from api.problems import invalid, problems
from api.routing import GuardedRoute
from api.state import Everything
from cardflow.temporal.codec import EncryptingCodec

PATH = "/codec/decode"
LONGEST_BYTES = 8 * 1024 * 1024  # an event holds 2 MiB at most, base64 makes four of three
MOST_PAYLOADS = 1_000

log = logging.getLogger(__name__)

router = APIRouter(tags=["codec"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.READ_HISTORIES))]


# Of both alphabets and with or without padding, as protobuf's JSON may be.
BASE64 = r"^([A-Za-z0-9+/_-]{4})*([A-Za-z0-9+/_-]{2}(==)?|[A-Za-z0-9+/_-]{3}=?)?$"
Base64 = Annotated[str, StringConstraints(pattern=BASE64)]


class PayloadShape(BaseModel):
    """One payload as protobuf's JSON has it: bytes as base64. Temporal may add fields."""

    metadata: dict[str, Base64] = {}
    data: Base64 = ""


class PayloadsShape(BaseModel):
    """Payloads in their order."""

    payloads: list[PayloadShape] = []


@router.post(PATH, operation_id="decode_payloads", responses=problems(409, 413))
async def decode(
    body: PayloadsShape,
    caller: Reader,
    state: Everything,
    x_namespace: Annotated[str, Header(max_length=200, pattern="^[ -~]*$")] = "",
) -> PayloadsShape:
    """Return what workflows stored, decrypted; who reads is put on record."""
    payloads = _read(body)
    await state.readings.note(caller, state.sessions, x_namespace)
    log.info("%d payloads are decoded for %s", len(payloads.payloads), caller.id)
    plain = await EncryptingCodec(state.keys.codec).decode(payloads.payloads)
    told: dict[str, Any] = MessageToDict(Payloads(payloads=plain))
    return PayloadsShape.model_validate(told)


def _read(body: PayloadsShape) -> Payloads:
    if len(body.payloads) > MOST_PAYLOADS:
        raise invalid("payloads", f"at most {MOST_PAYLOADS} at once", "ask for fewer")
    try:
        return ParseDict(body.model_dump(), Payloads(), ignore_unknown_fields=True)
    except ParseError:
        remedy = "send them as protobuf's JSON has them"
        raise invalid("payloads", "metadata and data are base64", remedy) from None
