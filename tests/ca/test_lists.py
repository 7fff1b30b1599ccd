"""The CA's lists: narrowed, in an order that fits what is asked for, page after page."""

from datetime import timedelta

import pytest

from cardflow.ca import RevocationReason
from cardflow.ca.embedded.listing import Standing, Wanted, find_certificate, list_certificates
from cardflow.ca.embedded.requests import Wanted as WantedRequests
from cardflow.ca.tables import CaCertificate, State
from cardflow.errors import Refused
from cardflow.sql import sessions_of, transaction
from tests.ca.making import ALICE, BOB, OFFICER, TWO_OFFICERS, a_request, now


async def numbers(engine, **wanted):
    """Return the serial numbers of a whole list, read in pages of one."""
    sought, found, after = Wanted(now(), **wanted), [], ""
    while True:
        async with transaction(sessions_of(engine)) as session:
            page = await list_certificates(session, sought, after=after, limit=1)
        if not page:
            return [row.serial_number for row in found]
        found += page
        after = sought.order.place(page[0])


async def ending(engine, request_id, days):
    """Have the request's certificate end in so many days, as far as the list knows."""
    async with transaction(sessions_of(engine)) as session:
        query = CaCertificate.__table__.update().where(CaCertificate.request_id == request_id)
        await session.execute(query.values(not_after=now() + timedelta(days=days)))


@pytest.fixture
async def three(ca, engine):
    """Return the serial numbers of three certificates that end in 300, 20 and 10 days."""
    made = []
    for subject, days in ((ALICE, 300), (BOB, 20), (ALICE, 10)):
        request = a_request(subject=subject, requested_by=subject.person_id)
        await ca.submit(request)
        await ending(engine, request.request_id, days)
        made.append((await ca.request(request.request_id)).serial_number)
    return made


async def test_certificates_come_the_newest_first_and_expiring_ones_the_soonest(three, engine):
    first, second, third = three

    assert await numbers(engine) == [third, second, first]
    soon = now() + timedelta(days=30)
    assert await numbers(engine, expires_before=soon) == [third, second]
    assert await numbers(engine, subject="BOB stone") == [second]
    assert await numbers(engine, subject="_") == []
    assert await numbers(engine, person_id=ALICE.person_id) == [third, first]
    assert await numbers(engine, profile=OFFICER) == []


async def test_what_is_revoked_or_over_is_listed_as_such_alone(three, ca, engine):
    first, second, third = three
    await ca.revoke(third, RevocationReason.SUPERSEDED, by="otto", note="a new card")
    await ca.revoke(first, RevocationReason.KEY_COMPROMISE)
    await ending(engine, await request_of(engine, second), -1)

    assert await numbers(engine, standing=Standing.REVOKED) == [first, third]
    assert await numbers(engine, standing=Standing.EXPIRED) == [second]
    assert await numbers(engine, standing=Standing.VALID) == []
    assert await numbers(engine, expires_before=now() + timedelta(days=999)) == []
    async with transaction(sessions_of(engine)) as session:
        row = await find_certificate(session, third.upper())
    assert (row.revoked_by, row.revocation_note) == ("otto", "a new card")


async def request_of(engine, serial_number):
    async with transaction(sessions_of(engine)) as session:
        return (await find_certificate(session, serial_number)).request_id


async def test_a_place_of_another_list_is_refused(engine):
    async with transaction(sessions_of(engine)) as session:
        with pytest.raises(Refused):
            await list_certificates(session, Wanted(now()), after="somewhere", limit=1)


async def test_requests_are_read_page_by_page_in_both_directions(ca):
    made = [(await ca.submit(a_request(profile))).handle
            for profile in (OFFICER, TWO_OFFICERS, OFFICER)]  # fmt: skip

    async def pages(**wanted):
        sought, found, after = WantedRequests(**wanted), [], None
        while page := await ca.list_requests(sought, after=after, limit=1):
            found += [facts.request_id for facts in page]
            after = (page[0].submitted_at, page[0].request_id)
        return found

    assert await pages(states=(State.PENDING,)) == made
    assert await pages(newest_first=True) == made[::-1]
    assert await pages(profile=TWO_OFFICERS) == [made[1]]
    assert await pages(submitted_before=now() - timedelta(days=1)) == []


async def test_what_the_linter_says_is_asked_anew(ca, desk):
    answer = await ca.submit(a_request(OFFICER))

    examined = await desk.examine(answer.handle)

    assert examined.csr.proof_of_possession
    assert examined.profile.name == OFFICER
    assert [finding for finding in examined.findings if finding.serious] == []
    with pytest.raises(Refused):
        await desk.examine("nothing")
