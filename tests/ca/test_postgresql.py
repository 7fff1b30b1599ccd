"""Races on PostgreSQL; on SQLite one transaction waits for the other and cannot lose any."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from cryptography import x509
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import SQLModel

from cardflow.ca import Issued, RevocationReason
from cardflow.ca.embedded import EmbeddedCA
from cardflow.ca.tables import CaCrl
from cardflow.errors import Refused
from cardflow.model import Verdict
from cardflow.sql import create_engine, sessions_of, transaction
from cardflow.x509 import facts_of_certificate, load_certificate
from tests.ca.making import BOB, TWO_OFFICERS, Home, a_csr, a_key, a_request, issue

pytestmark = pytest.mark.slow

PROCESSES = 8


@pytest.fixture
async def engines(home: Home, postgresql: str) -> AsyncIterator[list[AsyncEngine]]:
    """Yield engines over one new database, one per process that would be there."""
    engines = [create_engine(postgresql) for _ in range(PROCESSES)]
    tables = [t for t in SQLModel.metadata.sorted_tables if t.name.startswith("ca_")]
    async with engines[0].begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
        await connection.run_sync(SQLModel.metadata.create_all, tables=tables)
    yield engines
    for engine in engines:
        await engine.dispose()


@pytest.fixture
async def cas(home: Home, engines: list[AsyncEngine]) -> AsyncIterator[list[EmbeddedCA]]:
    """Yield the CA as eight workers have it open."""
    cas = [home.ca(engine) for engine in engines]
    await cas[0].maintain()
    yield cas
    for ca in cas:
        ca.close()


async def test_workers_racing_on_one_request_get_one_certificate(cas):
    for _ in range(5):
        request = a_request()
        answers = await asyncio.gather(*(ca.submit(request) for ca in cas))
        assert len({answer.certificate_pem for answer in answers}) == 1
    assert len(await cas[0].issued_certificates()) == 5


async def test_workers_racing_on_one_approved_request_get_one_certificate(cas):
    request = a_request(TWO_OFFICERS)
    pending = await cas[0].submit(request)
    facts = await cas[0].request(pending.handle)
    words = [
        ca.decide(pending.handle, f"officer-{n}", Verdict.APPROVE, "", facts.digest)
        for n, ca in enumerate(cas[:2])
    ]
    outcomes = await asyncio.gather(*words)
    assert sorted(outcome.state for outcome in outcomes) == ["approved", "pending"]
    answers = await asyncio.gather(*(ca.poll(pending.handle) for ca in cas))
    assert len({answer.certificate_pem for answer in answers}) == 1


async def test_officers_racing_hear_who_was_first(cas):
    pending = await cas[0].submit(a_request("smart-card-logon"))
    facts = await cas[0].request(pending.handle)
    words = [
        ca.decide(pending.handle, f"officer-{n}", verdict, "no", facts.digest)
        for n, (ca, verdict) in enumerate(zip(cas, [*Verdict] * 4, strict=True))
    ]
    outcomes = await asyncio.gather(*words, return_exceptions=True)
    refusals = [str(outcome) for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(refusals) == PROCESSES - 1
    assert all("too late: officer-" in refusal for refusal in refusals)


async def test_two_people_racing_with_one_key_get_one_certificate(cas):
    for _ in range(5):
        csr_pem = a_csr(a_key())
        requests = [a_request(csr_pem=csr_pem), a_request(csr_pem=csr_pem, subject=BOB)] * 4
        submits = [ca.submit(request) for ca, request in zip(cas, requests, strict=True)]
        outcomes = await asyncio.gather(*submits, return_exceptions=True)
        pems = {o.certificate_pem for o in outcomes if isinstance(o, Issued)}
        refusals = [str(o) for o in outcomes if isinstance(o, Refused)]
        assert len(pems) == 1
        assert len(refusals) == 4
        assert all("another person" in refusal for refusal in refusals)


async def test_every_revocation_is_on_the_newest_crl(cas, engines):
    pems = [await issue(cas[0]) for _ in range(PROCESSES)]
    numbers = [facts_of_certificate(pem).serial_number for pem in pems]
    await asyncio.gather(
        *(ca.revoke(n, RevocationReason.SUPERSEDED) for ca, n in zip(cas, numbers, strict=True))
    )
    crl = x509.load_der_x509_crl(await cas[0].crl_der())
    listed = {entry.serial_number for entry in crl}
    assert listed == {load_certificate(pem).serial_number for pem in pems}
    async with transaction(sessions_of(engines[0])) as session:
        crls = (await session.scalars(CaCrl.__table__.select().order_by("number"))).all()
    assert all(later == earlier + 1 for earlier, later in pairwise(crls))


async def test_a_request_cancelled_in_the_race_with_its_issuing_ends_one_way(cas):
    for _ in range(5):
        request = a_request("smart-card-logon")
        pending = await cas[0].submit(request)
        facts = await cas[0].request(pending.handle)
        await cas[0].decide(pending.handle, "officer-1", Verdict.APPROVE, "", facts.digest)
        await asyncio.gather(cas[1].cancel(request), cas[2].poll(pending.handle))
        final = await cas[0].poll(pending.handle)
        recorded = [c for c in await cas[0].issued_certificates() if c.request_id == pending.handle]
        assert len(recorded) == (1 if isinstance(final, Issued) else 0)
