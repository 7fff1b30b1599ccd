"""The edges of a lane's life: its mode, its stage, what happened, and the stage after it.

What happens to a lane is a call of one of ``lifecycle``'s functions, in the workflow as in the
state machine of ``tests/life.py``. So one recorder sees both: what can happen, and what recorded
histories remember.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache, partial, wraps
from itertools import product
from typing import NamedTuple

from cardflow import lifecycle
from cardflow.model import (
    DocumentKind,
    FormSignature,
    LaneStage,
    Means,
    Mode,
    OnRejection,
    PolicyProfile,
    SignatureFound,
    UpdateState,
    Verdict,
)
from tests import build
from tests.life import Life

ON_A_VISIT = ("visit_begun", "visit_over")
CHANGES = (
    *ON_A_VISIT,
    *("prepared", "submitted", "withdrawn", "decided", "approved_by_policy"),
    *("pending_at_ca", "issued", "ca_rejected", "written", "troubled", "retried"),
    *("undone", "lost"),
)
AT_CA = (*(Life.ca_says_yes, Life.ca_says_no, Life.ca_has_not_decided, Life.ca_cannot_be_reached),)
Step = Callable[[Life], object]


class Edge(NamedTuple):
    """One thing that can happen to a lane."""

    mode: Mode
    before: LaneStage
    what: str
    after: LaneStage

    def __str__(self) -> str:
        return f"mode {self.mode}: {self.before} --{self.what}--> {self.after}"


@contextmanager
def recording() -> Iterator[set[Edge]]:
    """Yield the edges that are taken meanwhile, by whoever takes them."""
    seen: set[Edge] = set()
    originals = {name: getattr(lifecycle, name) for name in CHANGES}
    depth = [0]
    for name, original in originals.items():
        setattr(lifecycle, name, _watched(name, original, seen, depth))
    try:
        yield seen
    finally:
        for name, original in originals.items():
            setattr(lifecycle, name, original)


def _watched(
    name: str, change: Callable[..., UpdateState], seen: set[Edge], depth: list[int]
) -> Callable[..., UpdateState]:
    @wraps(change)
    def watched(*given: object, **named: object) -> UpdateState:
        depth[0] += 1
        try:
            after = change(*given, **named)
        finally:
            depth[0] -= 1
        if not depth[0]:  # what one change asks of another is no event of its own
            before = next(x for x in given if isinstance(x, UpdateState))
            seen.update(_edges(name, before, after))
        return after

    return watched


def _edges(what: str, before: UpdateState, after: UpdateState) -> Iterator[Edge]:
    for old, new in zip(before.lanes, after.lanes, strict=True):
        is_here = what in ON_A_VISIT and old.stage not in lifecycle.CLOSED
        if is_here or old != new:
            yield Edge(old.plan.mode, old.stage, what, new.stage)


# What can happen


@cache
def reachable() -> frozenset[Edge]:
    """Return every edge that the state machine can take."""
    found = {edge for entry in _entries() for edge in _explored(entry)}
    beside = {edge for mode in Mode for edge in _explored(_entry(mode), beside_a_rejection=True)}
    return frozenset(found | {edge for edge in beside if edge.what == "ca_rejected"})


def _entries() -> Iterator[PolicyProfile]:
    """Every way to check a lane's documents; which of them there are depends on the mode."""
    for mode in Mode:
        yield _entry(mode)
        yield _entry(mode, precheck=False)
        yield _entry(mode, approvals_needed=2)
        yield _entry(mode, approve_signed=True)


def _entry(mode: Mode, **changes: object) -> PolicyProfile:
    wanted: dict[str, object] = {
        "precheck": mode in (Mode.REQUEST_FORM, Mode.BOTH),
        "request_form_signature": FormSignature.EITHER,
        "certificate_form_signature": FormSignature.EITHER,
    }
    return build.an_entry("logon", mode, **{**wanted, **changes})


def _explored(entry: PolicyProfile, *, beside_a_rejection: bool = False) -> set[Edge]:
    """Return what can happen to the lane, alone or beside one that the CA may reject."""
    others = (build.an_entry("mail"),) if beside_a_rejection else ()
    life = Life()
    life.begin(build.a_policy(entry, *others, on_rejection=OnRejection.ALL_OR_NOTHING))
    steps = [*_steps("logon"), *([partial(Life.ca_says_no, lane="mail")] if others else [])]
    known, ahead = {_shape(life)}, [life]
    with recording() as seen:
        while ahead:
            here = ahead.pop()
            for step in steps:
                there = _copy(here)
                step(there)
                if _shape(there) not in known:
                    known.add(_shape(there))
                    ahead.append(there)
    return seen


def _copy(life: Life) -> Life:
    there = copy(life)
    there.issued, there.counted = dict(life.issued), set(life.counted)
    there.on_card, there.new_on_card = set(life.on_card), set(life.new_on_card)
    return there


def _shape(life: Life) -> tuple[object, ...]:
    """Return what decides on what can happen next."""
    state, visit = life.state, life.state.visit
    lanes = tuple(
        (lane.stage, lane.attention, lane.approvals, lane.ca_handle, bool(lane.document))
        for lane in state.lanes
    )
    return lanes, visit and bool(visit.signs), state.writing, state.ended


def _steps(lane: str) -> Iterator[Step]:
    """Yield everything that people, CA, card and clock do to the lane, allowed or not."""
    yield from (Life.go_on_at_the_card, Life.end_visit, lambda life: life.wait(24 * 31))
    for who in (build.HOLDER, build.OPERATOR, build.OPERATOR_2):
        yield partial(Life.continue_, who=who)
        yield partial(Life.retry, who=who)
        yield partial(Life.withdraw, who=who, lane=lane)
        yield partial(Life.cancel, who=who, seldom="y")
        yield partial(Life.report_lost, who=who, seldom="y")
        for verdict in Verdict:
            yield partial(Life.decide, who=who, lane=lane, verdict=verdict, stale=False)
        for kind in DocumentKind:
            yield partial(Life.sign, who=who, lane=lane, kind=kind)
    for kind, found in product(DocumentKind, SignatureFound):
        submit = partial(Life.submit, who=build.HOLDER, lane=lane, kind=kind)
        yield partial(submit, means=Means.PORTAL, found=found)
    yield from (partial(at_ca, lane=lane) for at_ca in AT_CA)
    yield partial(Life.card_has_lost_a_key, lane=lane)
