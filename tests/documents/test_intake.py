"""Whatever is uploaded gets a named answer within five seconds and hurts nobody."""

import asyncio
import hashlib
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cardflow.documents.confined import _examiner
from cardflow.documents.examiner import Limits
from cardflow.documents.examiner.examination import examine
from cardflow.documents.intake import Code, IntakeFindings, inspect_upload
from cardflow.documents.qr import looks_like_ours
from cardflow.errors import Refused, Unavailable
from tests.chaos.forking import is_alive
from tests.documents.build import AWAITED, KEY, changed, form, page, saved
from tests.documents.corpus import BOMBS, CASES, OTHER_FORMS
from tests.documents.corpus.case import Case
from tests.documents.corpus.scans import links

LIMITS = Limits(wall_seconds=60)  # the machine may be busy; the work itself is measured
CONFINED = [case for case in BOMBS if case.bomb] + OTHER_FORMS
IN_PROCESS = [case for case in CASES if case not in CONFINED and case.name != "nothing"]


def named(cases: list[Case]) -> list[object]:
    return [pytest.param(case, id=case.name) for case in cases]


async def inspected(data: bytes, limits: Limits = LIMITS) -> IntakeFindings:
    return await inspect_upload(data, expected=AWAITED, qr_keys=[KEY], limits=limits)


@pytest.mark.parametrize("case", named(IN_PROCESS))
def test_what_is_found_in_an_upload(case: Case) -> None:
    try:
        found = examine(case.make(), LIMITS)
        answer = "matches" if any(map(looks_like_ours, found.codes)) else "unreadable"
    except Refused as refused:
        answer = str(refused)

    assert re.search(case.outcome, answer)


@pytest.mark.parametrize("case", named(CONFINED))
async def test_a_hostile_or_foreign_form_is_refused(case: Case) -> None:
    await _expect(case, replace(LIMITS, cpu_seconds=1))


@pytest.mark.slow
@pytest.mark.parametrize("case", named(CASES))
async def test_the_whole_corpus_in_a_confined_process(case: Case) -> None:
    await _expect(case, LIMITS)


async def _expect(case: Case, limits: Limits) -> None:
    data = case.make()
    try:
        answer = str((await inspected(data, limits)).qr)
    except Refused as refused:
        answer = str(refused)

    assert re.search(case.outcome, answer)
    assert sum(map(seconds_of, looking())) < 5


def seconds_of(process: str) -> float:
    """Return the processor time that a process has taken."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_the_corpus_is_large_and_each_case_has_its_own_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 140
    assert all(case.source for case in CASES)


async def test_the_findings_name_the_document() -> None:
    found = await inspected(form())

    assert found == IntakeFindings(
        media_type="application/pdf",
        pages=1,
        sha256=hashlib.sha256(form()).hexdigest(),
        size=len(form()),
        qr=Code.MATCHES,
    )


async def test_links_are_told_to_the_person_who_checks() -> None:
    assert (await inspected(changed(links))).notes == ("the PDF contains links to other places",)


async def test_a_key_that_was_replaced_still_verifies_what_it_printed() -> None:
    found = await inspect_upload(form(), expected=AWAITED, qr_keys=[bytes(32), KEY], limits=LIMITS)

    assert found.qr is Code.MATCHES


async def test_a_file_above_the_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(Refused, match="at most 1000 bytes are accepted"):
        await inspected(form(), replace(LIMITS, max_bytes=1000))


async def test_work_beyond_the_limit_of_memory_is_refused() -> None:
    image = saved(Image.new("RGB", (7000, 7000)), "PNG")

    with pytest.raises(Refused, match="too much"):
        await inspected(image, replace(LIMITS, memory_bytes=192 * 1024 * 1024))


async def test_a_busy_machine_is_no_reason_to_refuse() -> None:
    with pytest.raises(Unavailable, match="try again later"):
        await inspected(form(), replace(LIMITS, wall_seconds=0.001))


async def test_more_files_at_once_than_the_machine_bears_wait_their_turn() -> None:
    scan = saved(page(300))
    others = [asyncio.create_task(inspected(scan)) for _ in range(4)]
    await asyncio.sleep(0)  # each has begun

    with pytest.raises(Unavailable, match="many files are being examined"):
        await inspected(form(), replace(LIMITS, wall_seconds=0.01))

    assert [found.qr for found in await asyncio.gather(*others)] == [Code.MATCHES] * 4


async def test_an_examiner_that_cannot_start_is_a_fault_of_ours() -> None:
    with pytest.raises(RuntimeError, match="does not start"):
        await inspected(form(), replace(LIMITS, cpu_seconds="none"))


async def test_an_inspection_that_nobody_waits_for_leaves_no_process() -> None:
    await inspected(form())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await inspected(form())

    assert not any(is_alive(int(pid)) for pid in looking())


async def test_each_file_has_a_process_that_ends_with_it() -> None:
    await inspected(form())
    before = looking()
    await inspected(saved(page(300)))  # takes more than a tick

    (last,) = looking()
    assert last not in before
    assert 0 < seconds_of(last) < 5


async def test_an_examiner_that_was_killed_is_started_again() -> None:
    await inspected(form())
    os.kill(examiner(), signal.SIGKILL)

    assert (await inspected(form())).qr is Code.MATCHES


def examiner() -> int:
    """Return the process that forks for each file; 0 before the first."""
    return _examiner._process.pid if _examiner._process else 0


def looking() -> list[str]:
    """Return the processes that have been forked and not taken note of yet."""
    if not (pid := examiner()):
        return []
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def test_many_uploads_at_once_are_told_apart() -> None:
    other = await asyncio.gather(
        *(inspected(data) for data in (form(), saved(page(72)), saved(page(100), "PNG"))),
    )

    assert [found.media_type for found in other] == ["application/pdf", "image/jpeg", "image/png"]
    assert {found.qr for found in other} == {Code.MATCHES}
