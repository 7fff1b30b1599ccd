"""A signed form that must be believed for long: time-stamped, with its certificate's standing.

Done here and not at the workstation, which speaks to nobody but this server.
"""

from dataclasses import replace

import httpx2

from api.handing_in import Arrival, HandedIn, document_id_for, hand_in
from api.signature_checks import trust_of
from api.state import State
from api.update_views import Looked
from cardflow.db.register_updates import find_document
from cardflow.errors import Unavailable
from cardflow.model import Lane
from cardflow.outbound import outbound
from cardflow.outbound_http import Barred, http_client
from cardflow.sql import transaction

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"  # RFC 3161 3.4


async def hand_in_signed(state: State, looked: Looked, lane: Lane, arrival: Arrival) -> HandedIn:
    """Have what the card signed before the update; with its proofs where a TSA is set."""
    assert arrival.content is not None  # noqa: S101 a signed form has bytes
    if url := state.settings.tsa_url:
        kept = await _kept(state, arrival)
        arrival = replace(arrival, content=kept or await _proven(state, arrival.content, url))
    return await hand_in(state, looked, lane, arrival)


async def _kept(state: State, arrival: Arrival) -> bytes | None:
    """Return what an earlier try of this request stored: each time stamp is another file."""
    async with transaction(state.reads) as session:
        document = await find_document(session, document_id_for(arrival))
    return await state.store.get(document.sha256) if document else None


async def _proven(state: State, content: bytes, url: str) -> bytes:
    async def ask(query: bytes) -> bytes:
        headers = {"Content-Type": QUERY, "Accept": REPLY}
        try:
            async with http_client(outbound(state.settings)) as client:
                answer = await client.post(url, content=query, headers=headers)
        except Barred as error:
            raise _silent(str(error)) from error
        except httpx2.HTTPError as error:
            raise _silent(type(error).__name__) from error
        if not answer.is_success:
            raise _silent(str(answer.status_code))
        return answer.content

    from cardflow.documents.long_term import with_long_term_proof  # loads what few need

    return await with_long_term_proof(content, await trust_of(state), ask)


def _silent(why: str) -> Unavailable:
    return Unavailable(f"the time-stamping authority does not answer ({why}); try again later")
