"""The auditors' pages: the trail, checks of its chain, and every fact of one update."""

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api import audit, audit_checks, facts
from api.fact_shapes import NOT_SHOWN
from api.paging import Page, Paging
from api.problems import Problem, invalid
from api.routing import GuardedRoute, Reading
from api.shapes import Id
from api.state import Everything
from api.update_views import shown_update
from api.web.live import version_of
from api.web.render import go, page, tongue_of
from api.web.trail import ACTS, FACTS, KINDS, SIGNS
from api.web.whose import Whose, whose
from api.web.words import word_of
from cardflow.db.register_cards import card_with_serial, find_card
from cardflow.db.register_trail import kinds_of_entries
from cardflow.db.register_updates import names_of

EXPORT = "/api/v1/audit/csv"
WORDS: dict[str, Any] = {"KINDS": KINDS, "ACTS": ACTS, "FACTS": FACTS, "SIGNS": SIGNS}

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@dataclass(frozen=True)
class Typed:
    """The trail's filters as they were typed."""

    kind: Annotated[str, Query(max_length=40)] = ""
    person: Annotated[str, Query(max_length=200)] = ""
    update: Annotated[str, Query(max_length=36)] = ""
    card: Annotated[str, Query(max_length=64, description="A card's id or serial.")] = ""
    first: Annotated[str, Query(max_length=10, alias="from")] = ""
    last: Annotated[str, Query(max_length=10, alias="to")] = ""


@router.get("/audit", name="audit_page")
async def audit_page(
    *,
    request: Request,
    caller: audit.Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    typed: Annotated[Typed, Depends()],
) -> Response:
    """Return the trail, the newest first."""
    who, problem = await whose(session, typed.person), None
    asked, found = audit.Asked(), Page[audit.EntryOut](items=[])
    try:
        asked = await _asked(session, typed, who, tongue_of(request).zone)
        if not who.unclear:
            found = await audit.show_audit(caller, session, paging, asked)
    except Problem as refusal:
        problem = refusal
    return page(
        request,
        "audit/trail.html",
        problem=problem,
        typed=typed,
        who=who,
        found=found,
        entries=[(entry, _facts(entry)) for entry in found.items],
        names=await names_of(session, {entry.actor for entry in found.items}),
        kinds=await kinds_of_entries(session),
        export=f"{EXPORT}?{urlencode(_query(asked))}",
        **WORDS,
    )


async def _asked(session: AsyncSession, typed: Typed, who: Whose, zone: ZoneInfo) -> audit.Asked:
    """Return the filters for the trail, or raise Problem; days are days where the person is."""
    first, last = _day("from", typed.first), _day("to", typed.last)
    return audit.Asked(
        update=typed.update.strip(),
        kind=typed.kind,
        actor=who.id,
        card=await _card_id(session, typed.card.strip()),
        since=datetime.combine(first, time(), zone) if first else None,
        before=datetime.combine(last + timedelta(days=1), time(), zone) if last else None,
        order="newest",
    )


def _day(field: str, typed: str) -> date | None:
    try:
        return date.fromisoformat(typed) if typed else None
    except ValueError:
        raise invalid(field, "this is not a date", "write it as 2026-05-31") from None


async def _card_id(session: AsyncSession, typed: str) -> str:
    if not typed:
        return ""
    card = await find_card(session, typed) or await card_with_serial(session, typed)
    if card is None:
        raise invalid("card", "there is no such card", "type its serial number or its id")
    return card.id


def _query(asked: audit.Asked) -> dict[str, str]:
    """Return the filters as the export takes them; a table reads from the oldest on."""
    told = {name: getattr(asked, name) for name in ("update", "kind", "actor", "card")}
    told |= {"since": asked.since, "before": asked.before}
    return {name: _text(value) for name, value in told.items() if value}


def _text(value: str | datetime) -> str:
    return value.isoformat() if isinstance(value, datetime) else value


def _facts(entry: audit.EntryOut) -> dict[str, Any]:
    """Return what an entry tells in short; the whole text is in the export."""
    told = json.loads(entry.text)["facts"]
    facts = {"lane": told.get("lane", ""), **told.get("facts", told)}
    return {name: value for name, value in facts.items() if name not in NOT_SHOWN}


# Checks of the chain


@router.get("/audit/checks", name="checks_page")
async def checks_page(
    request: Request,
    caller: audit_checks.Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
) -> Response:
    """Return the checks that were made; the running one shows how far it is."""
    seen = await version_of(session, caller, "checks")
    found = await audit_checks.show_checks(caller, session, paging)
    return page(request, "audit/checks.html", seen=seen, found=found)


@router.post("/audit/checks", name="check_form")
async def start_check(request: Request, caller: audit_checks.Reader, state: Everything) -> Response:
    """Begin to check the whole chain."""
    await audit_checks.start_check(audit_checks.NothingIn(), caller, state)
    return go(request, "/audit/checks")


# Every fact of one update


@router.get("/updates/{update_id}/timeline", name="timeline_page")
async def timeline_page(
    request: Request, update_id: Id, caller: facts.Reader, session: Reading, state: Everything
) -> Response:
    """Return every fact of an update, to be read and printed."""
    topic = f"update:{update_id}"
    seen = await version_of(session, caller, topic)
    update = await shown_update(state, session, caller, update_id)
    found = (await facts.show_facts(update_id, caller, session, state)).items
    checks = [check for fact in found for check in fact.checks]
    return page(
        request,
        "audit/timeline.html",
        topic=topic,
        seen=seen,
        update=update,
        found=found,
        checked=len(checks),
        failed=[check for check in checks if not check.ok],
        titles={name: profile.title for name, profile in state.profiles.items()},
        words=word_of,
        **WORDS,
    )
