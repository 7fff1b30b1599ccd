"""Two holders, each with one of everything, and people who ask for it."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
from fastapi import FastAPI

from api.auth import API_TOKEN_PREFIX, SESSION_PREFIX, new_token, token_digest
from cardflow import lifecycle
from cardflow.db.opening import register
from cardflow.db.projection import write_view
from cardflow.db.register_drafts import keep_draft
from cardflow.db.register_identity import open_session
from cardflow.db.tables import (
    Agent,
    ApiToken,
    AuditCheck,
    Card,
    Certificate,
    Document,
    Person,
    PolicyVersion,
    Update,
)
from cardflow.decisions import utc_now
from cardflow.model import (
    CardState,
    DocumentKind,
    LaneStage,
    Mode,
    Role,
    UpdateInput,
    UpdateView,
    new_id,
)
from cardflow.policy_toml import stored_policy
from cardflow.sql import transaction
from tests import build

POLICY = (Path(__file__).parents[3] / "policies" / "rf.toml").read_text()
LANE, DIGEST = "logon", "0" * 64
HOURS = timedelta(hours=1)
PDF = b"%PDF-1.7\n%%EOF\n"


@dataclass(frozen=True)
class Belongings:
    """The ids of what is one holder's, and words that give away that it was shown."""

    login: str
    person_id: str
    card_id: str
    token_serial: str
    update_id: str
    document_id: str
    agent_id: str
    words: str

    @property
    def giveaways(self) -> set[str]:
        """What a reader who must not know of this holder must not read."""
        return {self.name, self.login, self.token_serial, self.card_id, self.update_id}

    @property
    def name(self) -> str:
        """What they are called."""
        return f"{self.login.title()} Holder"


@dataclass
class World:
    """A running door, and everybody who knocks at it."""

    app: FastAPI
    client: httpx2.AsyncClient
    hanna: Belongings  # asks as "mine" and "foreign"
    hugo: Belongings  # is asked about
    check_id: str
    people: dict[str, str] = field(default_factory=dict)  # by column: a person's id

    async def session_of(self, person_id: str, *, age: timedelta = timedelta(0)) -> str:
        """Return the token of a new sign-in; asking may end it."""
        token, now = new_token(SESSION_PREFIX), utc_now()
        async with transaction(self.app.state.cardflow.sessions) as session:
            await open_session(
                session, person_id, token_digest(token), now=now - age, until=now + HOURS
            )
        return token

    def sign_in_id(self, token: str) -> str:
        """Return the id under which people see their sign-in."""
        return token_digest(token)[:32]

    async def api_token_of(self, person_id: str, *roles: Role) -> tuple[str, str]:
        """Return the id and the secret of a new API token."""
        token, now, id_ = new_token(API_TOKEN_PREFIX), utc_now(), new_id()
        row = ApiToken(
            id=id_,
            token_sha256=token_digest(token),
            person_id=person_id,
            name="a script",
            roles=list(roles),
            created_at=now,
            expires_at=now + HOURS,
        )
        await self.store(row)
        return id_, token

    async def draft_of(self, person_id: str, kind: str, content: bytes) -> str:
        """Return the id of a new draft."""
        async with transaction(self.app.state.cardflow.sessions) as session:
            row = await keep_draft(
                session, person_id=person_id, kind=kind, content=content, now=utc_now()
            )
        return row.id

    async def store(self, *rows: object) -> None:
        """Leave the rows in the database."""
        await _store(self.app, *rows)


async def a_world(app: FastAPI, client: httpx2.AsyncClient) -> World:
    """Return the world, stored."""
    check_id, now = new_id(), utc_now()
    await _store(
        app,
        PolicyVersion(name="rf", version=1, document=POLICY, created_at=now),
        AuditCheck(id=check_id, started_by="nobody", started_at=now, seen_at=now, total=0),
    )
    hanna, hugo = [await _a_holder(app, login) for login in ("hanna", "hugo")]
    world = World(app, client, hanna, hugo, check_id)
    await _let_in_staff(world)
    return world


async def _let_in_staff(world: World) -> None:
    one = {role.value: [role] for role in Role if role not in (Role.HOLDER, Role.SERVICE)}
    many = {key: list(Role) for key in ("everything", "stale", "disabled", "temporary")}
    for column, roles in {**one, **many}.items():
        person = _person(column, roles)
        person.active = column != "disabled"
        person.must_change_password = column == "temporary"
        await world.store(person)
        world.people[column] = person.id


def _person(login: str, roles: list[Role]) -> Person:
    return Person(
        id=new_id(),
        login=login,
        name=f"{login.title()} Holder",
        email=f"{login}@example.org",
        upn=f"{login}@example.org",
        organization="Example",
        roles=list(roles),
        created_at=utc_now(),
    )


async def _a_holder(app: FastAPI, login: str) -> Belongings:
    now, person = utc_now(), _person(login, [Role.HOLDER])
    serial = login.encode().hex()[:16]
    update = _an_update(person.id, serial, now)
    own = Belongings(
        login=login,
        person_id=person.id,
        card_id=update.card_id,
        token_serial=serial,
        update_id=update.update_id,
        document_id=new_id(),
        agent_id=new_id(),
        words="one two three four five six",
    )
    await _store(app, person, _card(own, now), _agent(own, now), _certificate(own, now))
    async with transaction(app.state.cardflow.sessions) as session:
        await register(session, update)
        row = await session.get_one(Update, update.update_id)
        await write_view(session, row, _under_check(own, update, now))
    await _store(app, await _document(app, own, now))
    return own


def _an_update(holder_id: str, serial: str, now: datetime) -> UpdateInput:
    under = stored_policy(POLICY, 1)
    made = build.an_update(
        build.a_policy(build.an_entry(LANE, Mode.BOTH), name=under.name), opened_at=now
    )
    return build.signed(
        replace(made, holder_id=holder_id, started_by=holder_id, token_serial=serial)
    )


def _under_check(own: Belongings, update: UpdateInput, now: datetime) -> UpdateView:
    state = lifecycle.begin(update)
    document = replace(
        build.a_document(DocumentKind.REQUEST_FORM, by=own.person_id), id=own.document_id
    )
    stage = LaneStage.CHECKING_REQUEST_FORM
    lanes = tuple(replace(lane, stage=stage, since=now, document=document) for lane in state.lanes)
    return lifecycle.slim(lifecycle.view(update, replace(state, lanes=lanes)))


def _card(own: Belongings, now: datetime) -> Card:
    return Card(
        id=own.card_id,
        token_serial=own.token_serial,
        token_label=f"{own.login}'s card",
        holder_id=own.person_id,
        policy_name="rf",
        state=CardState.ISSUED,
        created_at=now,
    )


def _agent(own: Belongings, now: datetime) -> Agent:
    return Agent(
        id=own.agent_id,
        person_id=own.person_id,
        public_key=own.login.encode().hex().ljust(64, "0"),
        words=own.words,
        host=f"desk-of-{own.login}",
        state="pending",
        enrolled_at=now,
        key_since=now,
    )


def _certificate(own: Belongings, now: datetime) -> Certificate:
    return Certificate(
        sha256=own.login.encode().hex().ljust(64, "0"),
        card_id=own.card_id,
        kind="managed",
        state="on_card",
        cka_id="00" * 20,
        spki_sha256="00" * 32,
        serial_number=own.login.encode().hex(),
        subject=f"CN={own.name}",
        issuer="CN=CA",
        not_before=now,
        not_after=now + HOURS,
        pem="",
        created_at=now,
    )


async def _document(app: FastAPI, own: Belongings, now: datetime) -> Document:
    kept = await app.state.cardflow.store.put(PDF, limit=len(PDF))
    return Document(
        id=own.document_id,
        update_id=own.update_id,
        lane=LANE,
        kind="request_form",
        direction="received",
        state="checking",
        sha256=kept.sha256,
        size=kept.size,
        media_type="application/pdf",
        file_name="form.pdf",
        findings=json.dumps({}),
        created_at=now,
    )


async def _store(app: FastAPI, *rows: object) -> None:
    async with transaction(app.state.cardflow.sessions) as session:
        for row in rows:
            session.add(row)
            await session.flush()
