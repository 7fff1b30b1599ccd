"""The register of cards: which there are, whose they are, and what they must carry."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Proof, may
from api.authorize import Caller, Permission, Scope, authorize
from api.csv_import import (
    CSV_BODY,
    IMPORT_LIMIT,
    DryRun,
    FieldChange,
    Import,
    ImportOut,
    LineOut,
    Refusal,
    Row,
    Verdict,
    changes_of,
    csv_of,
    read_table,
)
from api.paging import Page, Paging, page
from api.planning import registered_card
from api.problems import invalid, problems, refused
from api.routing import OnceRoute, Reading, Transaction
from api.shapes import LINE, Flag, Id, In, Line, Out
from cardflow.db import audit
from cardflow.db.register_cards import (
    card_with_serial,
    cards_to_change,
    cards_with_serials,
    carries_certificates,
    known_policies,
    list_cards,
    policy_exists,
    those_carrying,
)
from cardflow.db.register_identity import find_person, people_by_login
from cardflow.db.register_policies import list_newest
from cardflow.db.register_updates import names_of
from cardflow.db.tables import Card, Person
from cardflow.decisions import utc_now
from cardflow.model import CardState, new_id
from cardflow.policy_toml import stored_policy
from cardflow.x509 import sha256_of

SECOND_ACCOUNT = "this is somebody's second account; give the card to their first"
ABOUT = "In serial or label, or the holder's name or login."

router = APIRouter(prefix="/cards", tags=["cards"], route_class=OnceRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_CARDS))]
Keeper = Annotated[Caller, Depends(may(Permission.MANAGE_CARDS))]
Changer = Annotated[Caller, Depends(may(Permission.MANAGE_CARDS, Proof.FRESH))]
Serial = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,62}[\x21-\x7e])?$")]
Label = Annotated[str, StringConstraints(max_length=64, pattern=LINE)]
PolicyName = Annotated[str, StringConstraints(max_length=100, pattern="^[a-z0-9-]*$")]


class CardIn(In):
    """A card to register, under the serial that it reports itself."""

    token_serial: Serial
    token_label: Label = ""
    manufacturer: Label = ""
    model: Label = ""
    holder_id: Id | None = None
    policy_name: PolicyName = ""


class CardLine(In):
    """A line of an import: the holder is named by login."""

    token_serial: Serial
    token_label: Label = ""
    manufacturer: Label = ""
    model: Label = ""
    holder: Line = ""
    policy_name: PolicyName = ""


class CardPatch(In):
    """What to change about a card; what is left out stays, ``holder_id: null`` takes it back."""

    holder_id: Id | None = None
    policy_name: PolicyName | None = None
    token_label: Label | None = None
    disabled: Flag | None = None


class CardOut(Out):
    """A card in the register."""

    id: str
    token_serial: str
    token_label: str
    manufacturer: str
    model: str
    holder_id: str | None
    policy_name: str
    state: CardState
    update_due: str
    seen_at: datetime | None
    lost_at: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class Wanted:
    """Which cards a list is about; what is left out does not narrow it."""

    holder: Annotated[str, Query(max_length=36, pattern=LINE)] = ""
    state: CardState | None = None
    policy: Annotated[str, Query(max_length=100, pattern=LINE)] = ""
    due: Annotated[bool, Query(description="Only those whose update is due.")] = False
    search: Annotated[str, Query(max_length=100, pattern=LINE, description=ABOUT)] = ""


@router.get("", operation_id="list_cards", responses=problems())
async def show_cards(
    caller: Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    wanted: Annotated[Wanted, Depends()],
) -> Page[CardOut]:
    """List cards; a holder sees their own."""
    only_own = authorize(caller, Permission.SEE_CARDS).scope is Scope.OWN
    if only_own and wanted.holder not in ("", caller.id):
        return Page(items=[])
    rows = await list_cards(
        session,
        after=paging.after("cards"),
        limit=paging.limit + 1,
        holder_id=caller.id if only_own else wanted.holder,
        state=wanted.state or "",
        policy_name=wanted.policy,
        ending_by=await _ending_by(session) if wanted.due else None,
        search=wanted.search,
    )
    return page("cards", rows, paging, lambda row: row.id, CardOut.model_validate)


async def _ending_by(session: AsyncSession) -> dict[str, datetime]:
    """Return by policy until when a certificate must be good, or else be renewed now."""
    now, found, after = utc_now(), {}, ""
    while rows := await list_newest(session, after=after, limit=200):
        for row in rows:
            days = stored_policy(row.document, row.version).renew_before_days
            found[row.name] = now + timedelta(days=days)
        after = rows[-1].name
    return found


@router.post("", status_code=201, operation_id="add_card", responses=problems(409, 413))
async def add_card(body: CardIn, caller: Keeper, session: Transaction) -> CardOut:
    """Register a card."""
    if await card_with_serial(session, body.token_serial):
        raise refused([f"a card with the serial {body.token_serial} is registered already"])
    if found := await _unknown(session, body.holder_id, body.policy_name):
        raise invalid(found[0], found[1])
    card = Card(**_row(**body.model_dump()))
    session.add(card)
    await session.flush()
    await _remember(session, caller, "card_added", _facts(card))
    return CardOut.model_validate(card)


@router.get("/{card_id:id}", operation_id="show_card", responses=problems(404))
async def show_card(card_id: Id, caller: Reader, session: Reading) -> CardOut:
    """Return a card."""
    card = await registered_card(session, card_id)
    authorize(caller, Permission.SEE_CARDS, card)
    return CardOut.model_validate(card)


@router.patch("/{card_id:id}", operation_id="change_card", responses=problems(404, 409, 413))
async def change_card(
    card_id: Id, body: CardPatch, caller: Changer, session: Transaction
) -> CardOut:
    """Assign, label, disable or enable a card, or put it under another policy."""
    card = await registered_card(session, card_id, to_change=True)
    changes = body.model_dump(exclude_unset=True)
    holder_id, policy_name = changes.get("holder_id"), changes.get("policy_name")
    if found := await _unknown(session, holder_id, policy_name or ""):
        raise invalid(found[0], found[1])
    carries = await carries_certificates(session, card.id)
    if objections := change_objections(card, changes, carries=carries):
        raise refused(objections)
    _apply(card, changes, carries=carries)
    await _remember(session, caller, "card_changed", _facts(card))
    return CardOut.model_validate(card)


@router.post(
    "/import",
    operation_id="import_cards",
    responses=problems(409, 413, 415),
    openapi_extra=CSV_BODY,
    max_body_size=IMPORT_LIMIT,
)
async def import_cards(
    request: Request, caller: Changer, session: Transaction, dry_run: DryRun = False
) -> ImportOut:
    """Register or change the cards of a CSV file by serial; bad lines are refused one by one."""
    content = await csv_of(request)
    done = await cards_in(content, dry_run=dry_run).run(session)
    if not dry_run:
        await remember_import(session, caller, content, done)
    return done


def cards_in(content: bytes, *, dry_run: bool) -> Import[CardLine]:
    """Return the import of a file, or raise Problem when it cannot be read as a whole."""
    judge = _judge if dry_run else _judge_to_change
    return Import(read_table(content, CardLine, key="token_serial"), Card, judge, dry_run)


async def remember_import(
    session: AsyncSession, caller: Caller, content: bytes, done: ImportOut
) -> None:
    """Leave the import in the audit trail."""
    facts = {"created": done.created, "updated": done.updated, "sha256": sha256_of(content)}
    await _remember(session, caller, "cards_imported", facts)


def change_objections(card: Card, changes: dict[str, Any], *, carries: bool) -> list[str]:
    """Return every reason why a card cannot be changed so."""
    found = []
    moves = "holder_id" in changes and changes["holder_id"] != card.holder_id
    if card.state == CardState.PENDING and (moves or changes.get("disabled")):
        found.append("an update is open on this card; cancel it first")
    if moves and carries:
        found.append("the card carries its holder's certificates; revoke and clear it first")
    if card.state == CardState.REVOKED and "disabled" in changes:
        found.append("the card is revoked")
    return found


@dataclass(frozen=True)
class _Known:
    """What is registered of that which a part of a file names."""

    cards: Mapping[str, Card]
    holders: Mapping[str, Person]
    policies: Collection[str]
    carrying: Collection[str]
    names: Mapping[str, str]  # of holders, by id


async def _judge(session: AsyncSession, rows: Sequence[Row[CardLine]]) -> list[Verdict]:
    known = await _known(session, rows)
    return [_verdict(row, known) for row in rows]


async def _judge_to_change(session: AsyncSession, rows: Sequence[Row[CardLine]]) -> list[Verdict]:
    """Judge as the cards are that change once nobody else changes them; all others stay free."""
    known = await _known(session, rows)
    told = [verdict.told for row in rows if (verdict := _verdict(row, known)).told]
    changed = {known.cards[line.key].id for line in told if line.what == "updated"}
    if changed:
        await cards_to_change(session, changed)
        known = replace(known, carrying=await those_carrying(session, changed))
    return [_verdict(row, known) for row in rows]


async def _known(session: AsyncSession, rows: Sequence[Row[CardLine]]) -> _Known:
    values = [row.value for row in rows]
    cards = await cards_with_serials(session, {value.token_serial for value in values})
    holders = await people_by_login(session, {value.holder for value in values})
    now = {card.holder_id for card in cards.values() if card.holder_id}
    return _Known(
        cards=cards,
        holders=holders,
        names=await names_of(session, now | {holder.id for holder in holders.values()}),
        policies=await known_policies(session, {value.policy_name for value in values}),
        carrying=await those_carrying(session, {card.id for card in cards.values()}),
    )


def _verdict(row: Row[CardLine], known: _Known) -> Verdict:
    if found := _missing(row.value, known):
        return _refused(row, *found)
    given = row.value.model_dump(include=row.columns - {"holder"})
    if row.value.holder:
        given["holder_id"] = known.holders[row.value.holder].id
    serial = row.value.token_serial
    card = known.cards.get(serial)
    if card is None:
        told = LineOut(line=row.line, key=serial, what="created")
        return Verdict(told, new=_row(**given))
    carries = card.id in known.carrying
    if objections := change_objections(card, given, carries=carries):
        return _refused(row, ("holder", "; ".join(objections)))
    changes = changes_of(card, given)
    what: Any = "updated" if changes else "unchanged"
    shown = [_with_names(change, known.names) for change in changes]
    told = LineOut(line=row.line, key=serial, what=what, changes=shown)
    return Verdict(told, change=lambda: _apply(card, given, carries=carries))


def _with_names(change: FieldChange, names: Mapping[str, str]) -> FieldChange:
    if change.field != "holder_id":
        return change
    old, new = (names.get(one, "") if one else "" for one in (change.old, change.new))
    return FieldChange(field="holder", old=old, new=new)


def _missing(value: CardLine, known: _Known) -> list[tuple[str, str]]:
    found = []
    if value.holder and value.holder not in known.holders:
        found.append(("holder", "nobody has this login"))
    elif value.holder and known.holders[value.holder].same_as:
        found.append(("holder", SECOND_ACCOUNT))
    if value.policy_name and value.policy_name not in known.policies:
        found.append(("policy_name", f"there is no policy {value.policy_name}"))
    return found


def _refused(row: Row[CardLine], *found: tuple[str, str]) -> Verdict:
    refused = (Refusal(line=row.line, field=field, reason=reason) for field, reason in found)
    return Verdict(refused=tuple(refused))


async def _unknown(
    session: AsyncSession, holder_id: str | None, policy_name: str
) -> tuple[str, str] | None:
    """Return the field that names something that is not there, and the reason."""
    holder = await find_person(session, holder_id) if holder_id else None
    if holder_id and holder is None:
        return "holder_id", "there is no such person"
    if holder and holder.same_as:
        return "holder_id", SECOND_ACCOUNT
    if policy_name and not await policy_exists(session, policy_name):
        return "policy_name", f"there is no policy {policy_name}"
    return None


def _row(**given: Any) -> dict[str, Any]:
    state = CardState.ASSIGNED if given.get("holder_id") else CardState.CLEAN
    blank = {"holder_id": None, "update_due": "", "inventory": "", "seen_at": None, "lost_at": None}
    texts = dict.fromkeys(
        ("token_label", "manufacturer", "model", "policy_name", "lost_by", "lost_because"), ""
    )
    return {"id": new_id(), "state": state, "created_at": utc_now(), **blank, **texts, **given}


def _apply(card: Card, changes: dict[str, Any], *, carries: bool) -> None:
    for name in changes.keys() - {"disabled"}:
        setattr(card, name, changes[name])
    if changes.get("disabled") is False:
        card.lost_at, card.lost_by, card.lost_because = None, "", ""
    if changes.get("disabled") is True:
        card.state = CardState.DISABLED
    elif changes.get("disabled") is False or card.state in (CardState.CLEAN, CardState.ASSIGNED):
        card.state = _resting_state(card, carries=carries)


def _resting_state(card: Card, *, carries: bool) -> CardState:
    if carries:
        return CardState.ISSUED
    return CardState.ASSIGNED if card.holder_id else CardState.CLEAN


def _facts(card: Card) -> dict[str, Any]:
    return {
        "card_id": card.id,
        "token_serial": card.token_serial,
        "holder_id": card.holder_id,
        "policy_name": card.policy_name,
        "state": card.state,
    }


async def _remember(
    session: AsyncSession, caller: Caller, kind: str, facts: dict[str, Any]
) -> None:
    await audit.append(session, audit.Entry(kind, utc_now(), actor=caller.id, facts=facts))
