"""The world that faults happen to: the product's own processes, started once, used by many cases.

How to write a case::

    async with world.case("words for the report", seed=7) as case:
        case.arm("ca.commit.done")                    # that process stops there, and is killed
        case.arm("api.act.done", then=Stop(4))        # or stays stopped for 4 s
        desk = await case.desk()                      # a holder, an agent, a card; yours alone
        await case.run("RF")                          # people take a whole update to its end
        # or case.open("RF"), then what you like, then case.finish()

Leaving the block waits until every armed point was hit and the world has settled, and raises with
the oracle's findings (``tests/chaos/oracle.py``) and a merged log otherwise. Cases run beside each
other, each on its own card; a kill hits whatever else is under way, and that must survive it too.
``case.killed("api" | "worker" | "agent-N" | "temporal" | "database")`` kills at a time of your
choosing. Whoever is killed is stopped first, and every card is looked at.
"""

import asyncio
import json
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from api.auth import SESSION_PREFIX, new_token, token_digest
from cardflow.chain import START
from cardflow.db.register_identity import open_session
from cardflow.db.tables import Person as PersonRow
from cardflow.decisions import utc_now
from cardflow.environment import SETTINGS_FILE
from cardflow.model import Role, new_id
from cardflow.settings import Settings, load_settings, setting_name
from cardflow.sql import create_engine, sessions_of, transaction
from cardflow.temporal.client import connect
from cardflow.temporal.devserver import is_ready, server_command
from cli.demo_card import DemoCard
from cli.ports import free_ports
from cli.processes import accepts
from cli.up import prepare
from tests.chaos.desk import Desk
from tests.chaos.forking import forked, is_alive, states
from tests.chaos.people import Person
from tests.chaos.processes import Line, Process, armed_with, kill
from tests.chaos.records import Mailbox, Records

PROFILES = """\
[web]
title = "Sign-in to web services"
purpose = "authentication"
key_usage = ["digitalSignature"]
extended_key_usage = ["1.3.6.1.5.5.7.3.2"]
subject_alt_names = ["email"]
validity_days = 20
approval = "automatic"

[staff]
title = "Sign-in of staff"
purpose = "authentication"
key_usage = ["digitalSignature"]
extended_key_usage = ["1.3.6.1.5.5.7.3.2"]
subject_alt_names = ["email"]
validity_days = 20
approval = "officer"
officers_needed = 1
"""
POLICY = """\
name = "{name}"
title = "For faults"
contact = "Ask."
document_exchange = "{exchange}"
renew_before_days = 30
revoke_replaced = true
{more}
{lanes}
"""
LANE = """\
[[profiles]]
profile = "{profile}"
mode = "{mode}"
key_type = "P-256"
{more}
"""
TWO_LANES = (("web", "R", ""), ("staff", "none", ""))
POLICIES = {
    "none": ("outside", "", (("web", "none", ""),)),
    "R": ("outside", "", (("web", "R", ""),)),
    "F": ("outside", "", (("web", "F", ""),)),
    "RF": ("outside", "", (("web", "RF", "precheck = true"),)),
    "officer": ("outside", "", (("staff", "none", ""),)),
    "portal": ("portal", "", (("web", "R", "precheck = true"),)),
    "signed": ("portal", "", (("web", "F", 'certificate_form_signature = "electronic"'),)),
    "two": ("outside", "", TWO_LANES),
    "strict": ("outside", 'on_rejection = "all_or_nothing"', TWO_LANES),
}
QUICK = (
    *("--dynamic-config-value", 'history.defaultWorkflowTaskTimeout="1s"'),
    *("--dynamic-config-value", 'frontend.keepAliveMinTime="0.5s"'),
)
WATCH_EVERY, SUPERVISE_EVERY = 0.02, 0.5
LOOKS = 10
SERVERS = ("temporal", "database")  # that others ask
PEOPLE_WAIT = 5  # seconds for an answer


@dataclass(frozen=True)
class Stop:
    """What may become of a process at a point instead of its death: it rests, and goes on."""

    seconds: float


@dataclass
class Armed:
    """A point that waits for a process to come by, at work for one of ``whose`` or anybody."""

    name: str
    then: Stop | None
    hit: "asyncio.Future[Strike]"
    key: str
    whose: set[str]


@dataclass(frozen=True)
class Strike:
    """A process was stopped, and these desks' cards looked at before it was killed or went on."""

    what: str
    seen: frozenset[str]


@dataclass(frozen=True)
class Look:
    """What was on a desk's card, and what was to be there."""

    desk: Desk
    then: Desk
    seen: dict[str, Any]
    since: float
    at: float


class Instant:
    """The world as it was when something was stopped: what is on a card is what was seen then.

    What was revoked or written by Temporal's server since then does not count either: who judges
    may have had to wait until a server was back.
    """

    def __init__(self, world: "World", look: Look) -> None:
        self._world, self._look, self._workflow_id = world, look, ""
        self.before = look.since
        self.temporal, self.data_converter = self, world.temporal.data_converter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    async def seen_on(self, _desk: Desk) -> dict[str, Any]:
        """Return what was on the card."""
        return self._look.seen

    def get_workflow_handle(self, workflow_id: str) -> "Instant":
        """Return ourselves, for ``fetch_history``."""
        self._workflow_id = workflow_id
        return self

    async def fetch_history(self) -> Any:
        """Return the history up to the instant."""
        history = await self._world.temporal.get_workflow_handle(self._workflow_id).fetch_history()
        until = [e for e in history.events if e.event_time.ToNanoseconds() / 1e9 <= self._look.at]
        if not until:  # another update has begun since then, and its history hides that one's
            raise RPCError("the history of then", RPCStatusCode.NOT_FOUND, b"")
        return replace(history, events=until)


@dataclass
class World:
    """Everything that runs, and everybody who takes part."""

    directory: Path
    settings: Settings
    mailbox: Mailbox = field(default_factory=Mailbox)
    processes: dict[str, Process] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    desks: list[Desk] = field(default_factory=list)
    armed: dict[str, Armed] = field(default_factory=dict)
    kills: list[str] = field(default_factory=list)
    ended: list[tuple[float, str]] = field(default_factory=list)  # by themselves
    numbers: Iterator[int] = field(default_factory=count)
    verified: tuple[int, str] = (0, START)  # how far the audit chain was found whole
    before: float = math.inf  # what was revoked until then counts as revoked
    eye: Line = field(init=False)
    records: Records = field(init=False)
    temporal: Client = field(init=False)
    free: "asyncio.Queue[Desk]" = field(default_factory=asyncio.Queue)
    _left: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def board(self) -> Path:
        return self.directory / "failpoints"

    @property
    def zygote(self) -> Path:
        return self.directory / "zygote"

    @property
    def log_dir(self) -> Path:
        return self.directory / "log"

    # Points

    def arm(self, name: str, then: Stop | None = None, whose: Iterable[str] = ()) -> Armed:
        """Have the next process that comes to the point, for one of those or anybody, stop."""
        hit = asyncio.get_running_loop().create_future()
        armed = Armed(name, then, hit, f"{name}@{next(self.numbers)}", set())
        self.armed[armed.key] = armed
        self.belongs(armed, *whose)
        (self.board / "armed" / armed.key).touch()
        return armed

    def belongs(self, armed: Armed, *whose: str) -> None:
        """The point is also armed for whoever is at work for these."""
        armed.whose.update(whose)
        new = self.board / f"{armed.key}.new"
        new.write_text(json.dumps(sorted(armed.whose)))
        new.rename(self.board / "whose" / armed.key)

    async def disarm(self, armed: Armed) -> None:
        """Have nobody stop at the point any more; return when who did has gone on."""
        try:
            (self.board / "armed" / armed.key).unlink()
        except FileNotFoundError:
            await asyncio.wait({armed.hit})
        else:
            self.armed.pop(armed.key)

    async def watch(self) -> None:
        """Look at the world whenever a process has stopped, and then do what was meant."""
        fired = self.board / "fired"
        while True:
            for found in os.listdir(fired):
                (fired / found).unlink()
                key, _, pid = found.rpartition("@")
                self._left.append(asyncio.create_task(self._stopped(key, int(pid))))
            await asyncio.sleep(WATCH_EVERY)

    async def supervise(self) -> None:
        """Start again who has ended by itself: a worker does whose Temporal is being killed."""
        while True:
            for process in list(self.processes.values()):
                if await process.kept():
                    self.ended.append((time.time(), process.name))
            await asyncio.sleep(SUPERVISE_EVERY)

    async def _stopped(self, key: str, pid: int) -> None:
        armed = self.armed.pop(key)
        try:
            await self._until_stopped(pid)
            seen = await self.look_at_cards(armed.name)
            if armed.then is not None:
                await asyncio.sleep(armed.then.seconds)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            else:
                await self.bury(pid)
            armed.hit.set_result(Strike(armed.name, seen))
        except Exception as error:
            armed.hit.set_exception(error)

    async def _until_stopped(self, pid: int) -> None:
        """Every thread of the process has come to a halt."""
        for _ in range(200):
            if states(pid) <= {"T", "t"}:
                return
            await asyncio.sleep(0.002)

    async def bury(self, pid: int) -> None:
        """The process is killed; one of ours is started again."""
        for process in self.processes.values():
            if process.pid == pid:
                self.kills.append(f"{time.time():.3f} {process.name}")
                await process.killed()
                return
        self.kills.append(f"{time.time():.3f} a card process")
        await kill(pid)

    async def killed(self, name: str, *, again: bool = True) -> Strike:
        """Stop a process whatever it does, look at the cards, and kill it; then start it again."""
        process = self.processes[name]
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGSTOP)
        await self._until_stopped(process.pid)
        why, looks = f"the kill of {name}", await self._looks()
        if name not in SERVERS:  # while one is stopped, nobody can say what it knows
            await self._judge(looks, why)
        self.kills.append(f"{time.time():.3f} {name}")
        await (process.killed() if again else kill(process.pid))
        if name in SERVERS:
            await self._judge(looks, why)
        return Strike(why, frozenset(look.desk.name for look in looks))

    async def look_at_cards(self, why: str) -> frozenset[str]:
        """I3, I4 and I5 hold at this instant on every card; return whose were looked at."""
        looks = await self._looks()
        await self._judge(looks, why)
        return frozenset(look.desk.name for look in looks)

    async def _looks(self) -> list["Look"]:
        """Return what is on each card now."""
        found = []
        for desk in self.desks:
            for _ in range(LOOKS):
                then, since = replace(desk), time.time()
                seen = await self.seen_on(desk)
                if desk.turn == then.turn:  # else another update began while we looked
                    found.append(Look(desk, then, seen, since, time.time()))
                    break
        return found

    async def _judge(self, looks: list["Look"], why: str) -> None:
        from tests.chaos.oracle import at_this_instant

        for look in looks:
            instant: Any = Instant(self, look)
            alarms = await at_this_instant(instant, look.then)
            look.desk.alarms += [f"at {why}: {alarm}" for alarm in alarms]

    async def seen_on(self, desk: Desk) -> dict[str, Any]:
        """Return what is on the card, by its own objects."""
        seen = await self.eye.ask(desk.question)
        if "error" in seen:  # a look beside a write
            seen = await self.eye.ask(desk.question)
        assert "error" not in seen, seen
        return seen

    async def owed(self, desk: Desk) -> dict[str, str]:
        """Return what the desk's next visit must remove: CKA_IDs with fingerprints."""
        rows = await self.records.rows(
            "SELECT cka_id, certificate_sha256 FROM debts "
            "WHERE card_id = :card AND paid_at IS NULL",
            card=desk.card_id,
        )
        return {row["cka_id"]: row["certificate_sha256"] for row in rows}

    def case(self, title: str, *, seed: int = 0) -> Any:
        """Return a case, to be entered (see above)."""
        from tests.chaos.case import Case

        return Case(self, title, seed)

    def merged_log(self, since: float, lines: int = 20_000) -> str:
        """Return what every process said and which points were reached since, in order of time."""
        from tests.chaos.logs import merged

        return merged(self, since, lines)


# Setting it up


@asynccontextmanager
async def world(
    directory: Path, *, desks: int, database_url: str = "", more_settings: str = ""
) -> AsyncIterator[World]:
    """Yield the world with everything running and an old pair on each card."""
    told = _settings_text(directory, database_url) + more_settings
    (directory / SETTINGS_FILE).write_text(told)
    here = World(directory, load_settings(directory))
    async with AsyncExitStack() as stack:
        await prepare(here.settings)
        here.log_dir.mkdir(exist_ok=True)
        here.records = Records.at(here.settings.database_url)
        smtp = await asyncio.get_running_loop().create_server(
            here.mailbox.session, "127.0.0.1", here.settings.smtp_port
        )
        stack.callback(smtp.close)
        stack.push_async_callback(here.records.engine.dispose)
        await _start(here, stack)
        await _populate(here, stack)
        await asyncio.gather(*(_furnish(here, stack, number) for number in range(desks)))
        yield here


def _settings_text(directory: Path, database_url: str) -> str:
    api, door, temporal, ui, metrics, smtp, catcher = free_ports(7)
    (directory / "profiles.toml").write_text(PROFILES)
    url = f'database_url = "{database_url}"\n' if database_url else ""
    return f"""\
profiles_file = "profiles.toml"
public_url = "http://localhost:{api}"
api_port = {api}
door_url = "https://localhost:{door}"
door_port = {door}
temporal_address = "127.0.0.1:{temporal}"
temporal_ui_port = {ui}
worker_metrics_port = {metrics}
smtp_port = {smtp}
catcher_port = {catcher}
fresh_minutes = 60
audit_checkpoint_entries = 5
digest_hours = 1
{url}"""


async def _start(here: World, stack: AsyncExitStack) -> None:
    environment = {setting_name("state_dir"): str(here.directory), **armed_with(here.board)}
    here.eye = await Line.to(here.log_dir / "eye.log", "tests.chaos.eye")
    stack.push_async_callback(here.eye.end)
    command = ("tests.chaos.zygote", str(here.zygote))
    zygote = await Line.to(here.log_dir / "zygote.log", *command, environment=environment)
    stack.push_async_callback(zygote.end)
    here.processes["temporal"] = Process(
        "temporal", partial(_temporal, here), partial(is_ready, here.settings)
    )
    await here.processes["temporal"].up()
    stack.push_async_callback(_end_temporal, here)
    while not here.zygote.exists():
        assert zygote.is_alive, (here.log_dir / "zygote.log").read_text()
        await asyncio.sleep(0.05)
    for name, ready in (("api", _api_is_ready), ("worker", _worker_is_ready)):
        start = partial(fork, here, name, {})
        here.processes[name] = Process(name, start, partial(ready, here.settings))
    await asyncio.gather(*(here.processes[name].up() for name in ("api", "worker")))
    here.temporal = await connect(here.settings)
    for lasting in (here.watch(), here.supervise()):
        stack.callback(asyncio.create_task(lasting).cancel)


async def fork(here: World, name: str, environment: dict[str, str], *arguments: str) -> int:
    """Return the process id of a new process of ours."""
    with (here.log_dir / f"{name}.log").open("ab") as log:
        return forked(
            here.zygote,
            name.partition("-")[0],
            (log.fileno(),),
            arguments=arguments,
            environment=environment,
        )


async def _temporal(here: World) -> int:
    command = server_command(here.settings, here.directory / "temporal.db")
    with (here.log_dir / "temporal.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "--", *command, *QUICK), stdout=log, stderr=log
        )
    return process.pid


async def _end_temporal(here: World) -> None:
    await kill(here.processes["temporal"].pid)


async def _api_is_ready(settings: Settings) -> bool:
    return await accepts("127.0.0.1", settings.api_port) and await accepts(
        "127.0.0.1", settings.door_port
    )


async def _worker_is_ready(settings: Settings) -> bool:
    return await accepts("127.0.0.1", settings.worker_metrics_port)


# Who takes part


async def _populate(here: World, stack: AsyncExitStack) -> None:
    for name, role in (
        ("ada", Role.ADMIN),
        ("olga", Role.OPERATOR),
        ("otto", Role.OFFICER),
    ):
        here.people[name] = await person(here, stack, name, role)
    for name, (exchange, more, lanes) in POLICIES.items():
        told = "".join(LANE.format(profile=p, mode=m, more=also) for p, m, also in lanes)
        toml = POLICY.format(name=name.lower(), exchange=exchange, more=more, lanes=told)
        headers = {"Content-Type": "application/toml"}
        await here.people["ada"].post("/policies", content=toml.encode(), headers=headers)


async def person(here: World, stack: AsyncExitStack, name: str, role: Role) -> Person:
    """Return somebody new who is signed in."""
    row = PersonRow(
        id=new_id(),
        login=name,
        name=name.title(),
        email=f"{name}@example.org",
        organization="Example",
        roles=[role],
        created_at=utc_now(),
    )
    token, now = new_token(SESSION_PREFIX), utc_now()
    engine = create_engine(here.settings.database_url)
    async with transaction(sessions_of(engine)) as session:
        session.add(row)
        await session.flush()
        until = now + timedelta(hours=12)
        await open_session(session, row.id, token_digest(token), now=now, until=until)
    await engine.dispose()
    client = httpx2.AsyncClient(
        base_url=here.settings.public_url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=PEOPLE_WAIT,
        trust_env=False,
    )
    stack.push_async_callback(client.aclose)
    return Person(row.id, client)


async def _furnish(here: World, stack: AsyncExitStack, number: int) -> None:
    """A desk is there, with an old pair on its card."""
    from tests.chaos.case import Case

    desk = await new_desk(here, stack, f"{number}")
    async with Case(here, f"the first pair of desk {number}", 0, desk=desk) as case:
        await case.run("none")
    here.free.put_nowait(desk)


async def new_desk(here: World, stack: AsyncExitStack, name: str) -> Desk:
    """Return a desk whose agent runs and has shown its empty card."""
    directory = here.directory / f"desk-{name}"
    holder = await person(here, stack, f"holly-{name}", Role.HOLDER)
    desk = Desk(name, directory, holder, DemoCard(directory / "card", f"Card {name}"))
    await asyncio.to_thread(desk.make)
    ada = here.people["ada"]
    told = {"token_serial": desk.card.serial, "token_label": desk.card.label}
    body = {**told, "holder_id": holder.id, "policy_name": "none"}
    desk.card_id = (await ada.post("/cards", json=body))["id"]
    await desk.enrol(here.settings)
    surroundings = {"SOFTHSM2_CONF": str(desk.card.configuration)}
    command = ("run", "--state", str(desk.state.path))
    start = partial(fork, here, f"agent-{name}", surroundings, *command)
    process = Process(f"agent-{name}", start, _at_once)
    here.processes[process.name] = process
    async with process.turn:
        await process.up()
    here.desks.append(desk)
    while not (await holder.get(f"/cards/{desk.card_id}/contents"))["connected"]:
        assert is_alive(process.pid)
        await asyncio.sleep(0.05)
    return desk


async def _at_once() -> bool:
    return True
