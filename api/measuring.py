"""How the installation does, for Prometheus: looked at once a minute, whoever asks how often.

Every API process measures for itself. What the database says is the same in all of them: take the
maximum. No label holds anything of a person, a card or an update.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from cryptography import x509
from prometheus_client import Gauge

from api.health_looks import certificate_ends, shown_until, workers_polling
from api.state import State
from cardflow.db import checkpoints
from cardflow.db.register_health import (
    Pile,
    checks_waiting,
    mails_queued,
    open_updates_by_stage,
    overdue_by_party,
    waiting_by_party,
)
from cardflow.decisions import utc_now
from cardflow.errors import CardflowError
from cardflow.model import Party
from cardflow.outbound import Outbound, outbound
from cardflow.settings import Settings
from cardflow.sql import transaction

EVERY_SECONDS = 60.0
PATIENCE_SECONDS = 20.0
SHOWN_SECONDS = 5.0

MEASURED = Gauge(
    "cardflow_measured_timestamp_seconds", "When this part was last measured.", ["part"]
)
UPDATES = Gauge("cardflow_updates_open", "Updates that have not ended.", ["stage"])
UPDATES_OLDEST = Gauge(
    "cardflow_updates_oldest_seconds", "The age of the oldest open update.", ["stage"]
)
WAITING = Gauge("cardflow_waiting", "Pieces of work that wait for somebody.", ["party"])
WAITING_OLDEST = Gauge(
    "cardflow_waiting_oldest_seconds", "How long the oldest of them has waited.", ["party"]
)
CHECKS = Gauge("cardflow_checks_waiting", "Forms that came in and wait to be checked.")
CHECKS_OLDEST = Gauge("cardflow_checks_oldest_seconds", "How long the oldest of them has waited.")
OVERDUE = Gauge("cardflow_waiting_overdue", "Those whose time is over.", ["party"])
MAILS = Gauge("cardflow_mails_queued", "Mails that the relay has not taken yet.")
MAILS_OLDEST = Gauge("cardflow_mails_oldest_seconds", "How long the oldest of them has waited.")
UNSIGNED = Gauge(
    "cardflow_audit_entries_unsigned", "Entries of the audit trail behind its last checkpoint."
)
SIGNED = Gauge(
    "cardflow_audit_checkpoint_timestamp_seconds", "When the last checkpoint was made; 0: never."
)
EXPIRES = Gauge(
    "cardflow_expires_timestamp_seconds", "When a certificate or a list of ours ends.", ["what"]
)
WRITABLE = Gauge("cardflow_document_store_writable", "1 while documents can be written.")
FREE = Gauge(
    "cardflow_document_store_free_bytes", "Room in a store of files; NaN: a bucket tells none."
)
POLLING = Gauge(
    "cardflow_workers_polling", "Workers that asked Temporal for work in the last two minutes."
)
REACHED = Gauge(
    "cardflow_pages_reached", "1 while the pages' own address answers; NaN: it is none of https."
)
for _gauge in (WRITABLE, FREE, POLLING, REACHED):
    _gauge.set(math.nan)  # a gauge begins with 0, which would say that all of this is down

log = logging.getLogger(__name__)


async def keep_measures(state: State) -> None:
    """Have the figures at most a minute old, until cancelled."""
    while True:
        await measure(state)
        await asyncio.sleep(EVERY_SECONDS)


async def measure(state: State) -> None:
    """Set every figure anew; one that cannot be had keeps what it was, and its old timestamp."""
    for part, look in PARTS.items():
        try:
            await asyncio.wait_for(look(state), PATIENCE_SECONDS)
        except CardflowError as error:
            log.warning("%s was not measured: %s", part, error)
        except Exception:  # whatever it is, the part's timestamp tells that it was not measured
            log.warning("%s was not measured", part, exc_info=True)
        else:
            MEASURED.labels(part).set_to_current_time()


async def _database(state: State) -> None:
    now = utc_now()
    async with transaction(state.reads) as session:
        updates = await open_updates_by_stage(session)
        waiting = await waiting_by_party(session)
        checks = await checks_waiting(session)
        overdue = await overdue_by_party(session, now)
        mails = await mails_queued(session)
        unsigned, last = await checkpoints.uncovered(session), await checkpoints.newest(session)
    _piles(UPDATES, UPDATES_OLDEST, updates, now)
    _piles(WAITING, WAITING_OLDEST, waiting, now)
    CHECKS.set(checks.number)
    CHECKS_OLDEST.set(_age(checks, now))
    for party in Party:
        OVERDUE.labels(party).set(overdue.get(party, 0))
    MAILS.set(mails.number)
    MAILS_OLDEST.set(_age(mails, now))
    UNSIGNED.set(unsigned)
    SIGNED.set(last.at.timestamp() if last else 0)


def _piles(number: Gauge, oldest: Gauge, piles: Mapping[str, Pile], now: datetime) -> None:
    for name, pile in piles.items():
        number.labels(name).set(pile.number)
        oldest.labels(name).set(_age(pile, now))


def _age(pile: Pile, now: datetime) -> float:
    return (now - pile.since).total_seconds() if pile.since else 0.0


async def _ca(state: State) -> None:
    authority = state.ca.authority()
    for name, crl in (("crl", await authority.crl_der()), ("root_crl", authority.root_crl_der())):
        if ends := x509.load_der_x509_crl(crl).next_update_utc:
            _ends(name, ends)
    for name, certificate in (
        ("ca", authority.issuing_certificate_der()),
        ("root_ca", authority.root_certificate_der()),
    ):
        _ends(name, x509.load_der_x509_certificate(certificate).not_valid_after_utc)
    _ends("ocsp_signer", authority.ocsp_signer_until())


async def _workers(state: State) -> None:
    POLLING.set(await workers_polling(state))


async def _certificates(state: State) -> None:
    for setting, ends in await asyncio.to_thread(certificate_ends, state.settings):
        _ends(setting.removesuffix("_file"), ends)
    await _shown(state.settings)


async def _shown(settings: Settings) -> None:
    """Note the certificates that others show for us, as far as they can be reached from here."""
    if settings.public_url.startswith("https:"):
        pages = Outbound(loopback=True)
        REACHED.set(await _seen("pages_certificate", pages, settings.public_url))
    if settings.document_bucket_url.startswith("https:"):
        await _seen("documents_certificate", outbound(settings), settings.document_bucket_url)


async def _seen(what: str, reach: Outbound, address: str) -> bool:
    try:
        async with asyncio.timeout(SHOWN_SECONDS):
            _ends(what, await shown_until(reach, address))
    except (OSError, CardflowError) as error:  # our own address need not be known in here
        log.debug("%s was not seen: %s", what, error)
        return False
    return True


def _ends(what: str, instant: datetime) -> None:
    EXPIRES.labels(what).set(instant.timestamp())


async def _store(state: State) -> None:
    try:
        free = await state.store.free_bytes()
    except BaseException:
        WRITABLE.set(0)
        raise
    WRITABLE.set(1)
    FREE.set(math.nan if free is None else free)


PARTS: dict[str, Callable[[State], Awaitable[None]]] = {
    "database": _database,
    "ca": _ca,
    "certificates": _certificates,
    "document_store": _store,
    "workers": _workers,
}
for _part in PARTS:
    MEASURED.labels(_part)  # 0: what was never measured is alarming, not absent
