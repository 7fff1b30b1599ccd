"""Whole updates, mode RF, on the product's own processes; and what each form costs to print.

Real forms, scans, intake, CA with lint, mail, database, and workstations on the real protocol with
software keys. Beside it: the bare workflow of ``bench_updates``, of the shape of one of these
updates, on the same server. People look four times a second where their update stands.
"""

import asyncio
import base64
import io
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pypdfium2
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from weasyprint import HTML

from benchmarks.bare import Bare, Shape, nothing, told
from benchmarks.bench_updates import one_bare, rate, shape_of
from benchmarks.table import Row, is_quick, quantile, show
from benchmarks.workplace import (
    Desk,
    Doors,
    at_work,
    doors_open,
    enrolled,
    processor_ms,
    registered,
)
from cardflow.ca.embedded.keys import Layout
from cardflow.evidence.checks import verify
from cardflow.evidence.roots import load_roots
from cardflow.model import Stage, new_id
from cardflow.temporal.client import connect
from cardflow.temporal.ending import run_and_exit
from cli import demo_steps
from cli.demo_people import AUDITOR
from cli.demo_steps import Turns, UpdateRun
from tests.api.workstation import SoftCard
from workflows.card_update import workflow_id

LOOK_EVERY_SECONDS = 0.25
LANE = "smart-card-logon"
RULES = f"""\
name = "bench"
title = "Both forms, one lane"
contact = "Ask the service desk, room 101, servicedesk@example.org."
document_exchange = "portal"
[[profiles]]
profile = "{LANE}"
mode = "RF"
key_type = "P-256"
precheck = true
"""


@dataclass
class Timed:
    """What was noted while updates ran: seconds of each form's printing, and the last form."""

    forms: list[float] = field(default_factory=list)
    form: bytes = b""


@dataclass
class TimedRun(UpdateRun):
    """An update whose forms are timed when they are first printed."""

    timed: Timed = field(default_factory=Timed)

    def form(self, lane: str) -> bytes:
        """Return the form that the lane waits for."""
        before = time.perf_counter()
        self.timed.form = super().form(lane)
        self.timed.forms.append(time.perf_counter() - before)
        return self.timed.form


def one_update(doors: Doors, card_id: str, timed: Timed) -> UpdateRun:
    """Run one update from the click to the card."""
    run = TimedRun(doors.cast, card_id, timed=timed)
    run.open()
    run.until_stage(Stage.PENDING)
    Turns(run).until_ready()
    run.continue_()
    run.until_stage(Stage.COMPLETED)
    return run


async def measure(doors: Doors, *, quick: bool) -> list[Row]:
    """Measure and return the rows."""
    cards = [SoftCard(f"{number:016x}") for number in range(1, 3 if quick else 7)]
    ids = await asyncio.to_thread(registered, doors.cast, RULES, "bench", cards)
    desks = [Desk(await enrolled(doors), card) for card in cards]
    for desk in desks:  # who opens an update while only other cards are seen is told of those
        await desk.report()
    async with at_work(*(desk.run() for desk in desks)):
        await asyncio.to_thread(one_update, doors, ids[0], Timed())
        timed, each = Timed(), 1 if quick else 5
        parts = dict(doors.supervisor.pids)
        busy = {name: processor_ms(pid) for name, pid in parts.items()}
        people, before = time.process_time(), time.perf_counter()
        run = await everybody(doors, ids, timed, each)
        seconds = time.perf_counter() - before
        people = (time.process_time() - people) * 1000
        spent = {name: processor_ms(pid) - busy[name] for name, pid in parts.items()}
        timed.forms.clear()  # those were printed while others updated their cards
        for _ in range(1 if quick else 4):
            await asyncio.to_thread(one_update, doors, ids[0], timed)
    number = each * len(cards)
    client = await connect(doors.settings)
    bare, shape = await bare_rate(client, run, 2 if quick else 30, at_once=len(cards))
    beside = f"bare: {len(shape.activities) - 1} updates, {sum(shape.activities)} activities"
    rows = [Row("full RF: updates, one lane", number / seconds, "1/s", beside, bare,
                reach_ratio=0.4)]  # fmt: skip
    for name, milliseconds in {**spent, "people, scanner, cards": people}.items():
        rows.append(Row(f"of which the processor: {name}", milliseconds / number, "ms"))
    evidence = await asyncio.to_thread(evidence_rows, doors, run)
    return [*rows, *form_rows(timed, 2 if quick else 15), *evidence]


async def everybody(doors: Doors, ids: list[str], timed: Timed, each: int) -> UpdateRun:
    """Every card is updated so many times, all cards at once; return one of these updates."""
    loop = asyncio.get_running_loop()

    def one_after_the_other(card_id: str) -> UpdateRun:
        return [one_update(doors, card_id, timed) for _ in range(each)][-1]

    with ThreadPoolExecutor(len(ids)) as pool:
        runs = [loop.run_in_executor(pool, one_after_the_other, card_id) for card_id in ids]
        return (await asyncio.gather(*runs))[0]


async def bare_rate(
    client: Client, run: UpdateRun, number: int, *, at_once: int
) -> tuple[float, Shape]:
    """Return how many bare workflows of this update's shape a second sees."""
    history = await client.get_workflow_handle(workflow_id(run.card_id)).fetch_history()
    shape, queue = shape_of(list(history.events)), f"bare-{new_id()}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[Bare],
        workflow_runner=UnsandboxedWorkflowRunner(),  # as the product's
        activities=[nothing, told],
    )
    async with worker:
        await one_bare(client, queue, shape)
        figure, _ = await rate(lambda: one_bare(client, queue, shape), number, at_once)
    return figure, shape


# The forms


def form_rows(timed: Timed, times: int) -> list[Row]:
    """Return how long a form takes through the API, beside the same content by WeasyPrint."""
    page = html_of(timed.form)
    durations = []
    for _ in range(times + 1):
        before = time.perf_counter()
        HTML(string=page).write_pdf(pdf_variant="pdf/a-2b", pdf_tags=True)
        durations.append(time.perf_counter() - before)
    return [
        Row("form PDF through the API, first printing, p50", quantile(timed.forms, 0.5) * 1000,
            "ms", "WeasyPrint, the same words", quantile(durations[1:], 0.5) * 1000,
            higher_is_better=False, reach_ratio=4)
    ]  # fmt: skip


def html_of(form: bytes) -> str:
    """Return a page with what the form says, its code as a picture included."""
    page = pypdfium2.PdfDocument(form)[0]
    lines = page.get_textpage().get_text_range().splitlines()
    corner = page.render(scale=1).to_pil().crop((400, 0, 595, 195))
    corner.save(png := io.BytesIO(), "PNG")
    code = base64.b64encode(png.getvalue()).decode()
    rows = "".join(f"<tr><th>{n}</th><td>{line}</td></tr>" for n, line in enumerate(lines))
    return (
        '<!doctype html><html lang="en"><title>Form</title><style>@page{size:A4;margin:2cm}'
        "table{border-collapse:collapse}td,th{border-bottom:1px solid #999;padding:2pt}</style>"
        f'<h1>{lines[0]}</h1><img alt="code" src="data:image/png;base64,{code}">'
        f"<table>{rows}</table></html>"
    )


# The evidence


def evidence_rows(doors: Doors, run: UpdateRun) -> list[Row]:
    """Return how long the pack of this update takes to be made, and to be verified offline."""
    auditor, settings = doors.cast.api(AUDITOR), doors.settings
    before = time.perf_counter()
    pack = auditor.content(f"/updates/{run.update_id}/evidence")
    exported = time.perf_counter() - before
    files = (settings.decision_root_file, Layout(settings.ca_dir).root_certificate)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as together:
        together.write("".join(file.read_text() for file in files))
        together.flush()
        roots = load_roots(Path(together.name))
    before = time.perf_counter()
    checks = verify(io.BytesIO(pack), roots)
    seconds = time.perf_counter() - before
    assert all(check.ok for check in checks), checks
    return [
        Row(f"evidence of one update, {len(pack) // 1024} KiB, made by the API", exported, "s"),
        Row(f"the same verified offline, {len(checks)} checks", seconds, "s",
            higher_is_better=False, reach=10),
    ]  # fmt: skip


async def main() -> int:
    """Start everything, measure, show."""
    quick = is_quick()
    demo_steps.LOOK_EVERY_SECONDS = LOOK_EVERY_SECONDS
    async with doors_open() as doors:
        rows = await measure(doors, quick=quick)
    show("product", rows)
    return 0


if __name__ == "__main__":
    run_and_exit(main())
