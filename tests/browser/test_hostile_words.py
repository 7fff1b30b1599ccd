"""Whatever people, cards, files and certificates are called, pages show it, and nothing runs."""

import asyncio
import json
import sys
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateBuilder, Name, NameAttribute, random_serial_number
from cryptography.x509.oid import NameOID
from playwright.async_api import BrowserContext, Page
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from agent.readers import Readers
from agent.settings import ModuleSetting
from api.web.render import NOTICE
from cardflow.db import audit
from cardflow.db.tables import (
    Agent,
    ApiToken,
    Card,
    Document,
    Mail,
    MailText,
    Person,
    PolicyVersion,
    Session,
)
from cardflow.decisions import utc_now
from cardflow.jobs import Inventory, TokenReport
from cardflow.model import Role, new_id
from cardflow.sql import transaction
from tests.agent.conftest import PIN
from tests.agent.desk import SOFTHSM, SoftHsmReader, run
from tests.api.updates.conftest import API, Office
from tests.browser.conftest import Seat
from tests.browser.hostile import ALL, ROWS, TEXTS
from tests.browser.test_officer import asked

pytestmark = pytest.mark.temporal
LANE = "tls-client"


@dataclass
class Canary:
    """What ran, and who was called: nothing, on a page that escapes."""

    numbers: set[int] = field(default_factory=set)
    said: list[str] = field(default_factory=list)


TELL = """addEventListener("securitypolicyviolation", (event) =>
  violated(event.violatedDirective + " " + event.blockedURI + " " + location.href))"""


async def watched(context: BrowserContext, page: Page) -> Canary:
    """Return the canary of everything that the context opens."""
    canary = Canary()

    async def away(route: object) -> None:
        host = route.request.url.split("/")[2]
        canary.numbers.add(int(host.removeprefix("evil").removesuffix(".example")))
        await route.abort()

    await context.expose_binding("ran", lambda _source, number=-1: canary.numbers.add(int(number)))
    await context.expose_binding("violated", lambda _source, what: canary.said.append(what))
    await context.add_init_script(TELL)
    await context.route(lambda url: ".example" in url.split("/")[2], away)
    page.on("dialog", lambda dialog: canary.said.append(f"dialog {dialog.message}"))
    return canary


async def test_every_row_is_alive_where_nothing_is_escaped(browser):
    context = await browser.new_context()
    page = await context.new_page()
    canary = await watched(context, page)
    alive = {number for number, row in enumerate(ROWS) if row.stage}
    frames = [ROWS[number].stage.format(TEXTS[number]) for number in sorted(alive)]
    await page.set_content("<body>")
    await page.evaluate(
        """(frames) => { for (const frame of frames) {
            const one = document.createElement("iframe"); one.srcdoc = frame;
            document.body.append(one); } }""",
        frames,
    )
    for _ in range(100):
        if canary.numbers >= alive:
            break
        await asyncio.sleep(0.05)
    await context.close()

    assert [ROWS[number].kind for number in sorted(alive - canary.numbers)] == []
    assert len(alive) >= 40
    assert len({row.kind for row in ROWS}) == len(ROWS)


# Where words come in, and how: by the door where it takes words of this length, else as rows.


async def planted(office: Office, boss: httpx2.AsyncClient, on_card: Inventory) -> dict[str, str]:
    """Put all of it wherever words come in; return what the addresses of pages need."""
    policy = await under_hostile_policy(office)
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    await hand_in(office, update_id)
    await office.until_lane(update_id, "checking_request_form")
    await office.decide(update_id, "reject", reason=ALL[:1000])
    await office.until_lane(update_id, "awaiting_request_form")
    await hand_in(office, update_id)
    await office.until_lane(update_id, "checking_request_form")
    await office.desk.workstation.report(hostile_report(office, on_card))
    request_id = await asked(office)
    holder = office.holder.headers["X-Person"]
    async with transaction(office.state.sessions) as session:
        session.add_all(people())
        await plant_rows(session, update_id, holder, boss.headers["X-Person"], policy)
        card = await session.get_one(Card, office.card_id)
        card.token_label = card.manufacturer = card.model = card.update_due = ALL
    return {
        "card": office.card_id, "update": update_id, "holder": holder, "policy": policy,
        "request": request_id,
    }  # fmt: skip


async def under_hostile_policy(office: Office) -> str:
    """Put the card under a policy whose every text is hostile."""
    name = f"hostile-{new_id()[-12:]}"
    said = json.dumps(ALL)  # a basic string of TOML
    text = f"""name = "{name}"
title = {said}
contact = {said}
rejection_reasons = [{said}]
[[profiles]]
profile = "tls-client"
mode = "R"
key_type = "P-256"
precheck = true
"""
    async with transaction(office.state.sessions) as session:
        session.add(PolicyVersion(name=name, version=1, document=text, created_at=utc_now()))
        session.add(
            PolicyVersion(name=name, version=2, document=text + "# " + ALL, created_at=utc_now())
        )
        (await session.get_one(Card, office.card_id)).policy_name = name
    return name


async def hand_in(office: Office, update_id: str) -> None:
    """Hand in the form under a hostile name."""
    printed = await office.form(update_id, LANE)
    parts = [("file", (f"{ALL}.pdf", printed.content, "application/pdf"))]
    path = f"{API}/updates/{update_id}/lanes/{LANE}/documents"
    assert (await office.holder.post(path, files=parts)).status_code == 201


WRITE = """
import pathlib, sys
from pkcs11 import Attribute, CertificateType, ObjectClass, lib
module, pin, file, label = sys.argv[1:]
token = next(t for t in lib(module).get_tokens() if t.label)
with token.open(rw=True, user_pin=pin) as session:
    session.create_object({
        Attribute.CLASS: ObjectClass.CERTIFICATE,
        Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
        Attribute.TOKEN: True, Attribute.ID: bytes(20), Attribute.LABEL: label,
        Attribute.SUBJECT: b"", Attribute.VALUE: pathlib.Path(file).read_bytes(),
    })
"""


@pytest.fixture
async def on_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """Return what the agent reads from a real card with a certificate for all of them."""
    reader = SoftHsmReader(tmp_path / "reader")
    for name, value in reader.environment.items():
        monkeypatch.setenv(name, value)
    reader.new_card(TEXTS[0][:32], PIN)
    names = [NameAttribute(NameOID.COMMON_NAME, TEXTS[1]), *map(organization, TEXTS)]
    (tmp_path / "hostile.der").write_bytes(certificate_for(Name(names)))
    # OpenSSL's parser, which card tools use, takes no such names; a card takes any bytes.
    run(sys.executable, "-c", WRITE, SOFTHSM, PIN, str(tmp_path / "hostile.der"), ALL)
    readers = Readers([ModuleSetting("softhsm", SOFTHSM)])
    await readers.look(thorough=True)
    (token,) = readers.tokens
    await readers.close()
    (found,) = token.inventory.certificates
    assert found.label.startswith(TEXTS[0])
    return token.inventory


def hostile_report(office: Office, on_card: Inventory) -> TokenReport:
    """Return what an agent says of a card that carries what that card carries, and ours."""
    inventory = office.desk.card.inventory()
    inventory = replace(inventory, certificates=(*inventory.certificates, *on_card.certificates))
    return office.desk.card.report(
        token_label=ALL, reader=ALL, manufacturer=ALL, model=ALL, module=ALL, inventory=inventory
    )


def organization(text: str) -> NameAttribute:
    return NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, text, _validate=False)


def certificate_for(name: Name) -> bytes:
    """Return a certificate that somebody else issued to themselves, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(random_serial_number())
    builder = builder.not_valid_before(utc_now()).not_valid_after(utc_now() + timedelta(days=9))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def people() -> list[Person]:
    """Return a person for each row, who is called so in every way."""
    return [
        Person(
            id=new_id(), login=f"h{new_id()[-12:]}", name=text, given_name=text, surname=text,
            email=text, upn=text, sid=text, organization=text, created_at=utc_now(),
            roles=["holder"],
        )
        for text in TEXTS
    ]  # fmt: skip


async def plant_rows(
    session: AsyncSession, update_id: str, holder: str, boss: str, policy: str
) -> None:
    """Change and add rows, where a door would take fewer words, or none."""
    now = utc_now()
    called = {"name": ALL, "given_name": ALL, "surname": ALL, "email": ALL, "upn": ALL,
              "organization": ALL, "sid": ALL}  # fmt: skip
    await session.execute(update(Person).where(col(Person.id) == holder).values(**called))
    await session.execute(update(Agent).values(host=ALL, system=ALL, version=ALL, words=ALL))
    await session.execute(update(Session).values(user_agent=ALL))
    await session.execute(update(Document).values(note=ALL))
    session.add(
        Mail(
            id=new_id(), update_id=update_id, event=99, kind="completed", person_id=holder,
            address=ALL, subject=ALL, message_id=f"<{new_id()}@x>", state="failed", error=ALL,
            created_at=now,
        )
    )  # fmt: skip
    session.add(
        ApiToken(
            id=new_id(), token_sha256=new_id(), person_id=boss, name=ALL, roles=["admin"],
            created_at=now, expires_at=now + timedelta(days=9),
        )
    )  # fmt: skip
    session.add(
        MailText(
            policy_name=policy, kind="completed", language="en", subject=ALL, body=ALL,
            updated_by=holder, updated_at=now,
        )
    )  # fmt: skip
    facts = {"person_id": holder, "name": ALL, "changed": [ALL], "card_id": ALL}
    await audit.append(session, audit.Entry("person_changed", now, holder, facts=facts))
    facts = {"reason": ALL, "by": ALL}
    entry = audit.Entry("signal_refused", now, ALL, update_id=update_id, facts=facts)
    await audit.append(session, entry)


Q, SHORT = quote(ALL), quote(TEXTS[13])  # where a parameter is taken, and where it is refused
# Who looks at which page, and whether every row must be there to be read.
TOUR = [
    ("holder", "/cards", True),
    ("holder", "/cards/{card}", True),
    ("holder", "/cards/{card}/update", True),
    ("holder", "/cards/{card}/clear", True),
    ("holder", "/cards/{card}/lost", True),
    ("holder", "/updates/{update}", True),
    ("holder", "/account", True),
    ("boss", "/work", True),
    ("boss", f"/work/{{update}}/{LANE}", True),
    ("boss", f"/work/{{update}}/{LANE}/record", True),
    ("boss", "/register/cards", True),
    ("boss", "/register/cards/{card}", True),
    ("boss", "/register/cards/{card}/update", True),
    ("boss", "/updates", True),
    ("boss", "/updates/{update}/timeline", True),
    ("boss", "/register/updates/{update}/cancel", True),
    ("boss", "/people?search=ran(", True),
    ("boss", "/people/{holder}", True),
    ("boss", "/people/{holder}/edit", True),
    ("boss", "/ca/requests/{request}", True),
    ("boss", "/audit", True),
    ("boss", "/policies", True),
    ("boss", "/policies/{policy}/2", True),
    ("boss", "/policies/{policy}/2/changes", True),
    ("boss", "/policies/{policy}/mails/completed/en", True),
    ("boss", "/agents", True),
    ("boss", "/tokens", True),
    ("boss", f"/people?search={SHORT}", False),
    ("boss", f"/register/cards?search={SHORT}&policy={SHORT}", False),
    ("boss", f"/updates?search={SHORT}&policy={SHORT}", False),
    ("boss", f"/certificates?subject={SHORT}&person={SHORT}", False),
    ("boss", f"/audit?person={SHORT}&from={SHORT}&to={SHORT}", False),
    ("boss", f"/audit?person={Q}&kind={Q}", False),
    ("boss", f"/policies/{Q}", False),
    ("nobody", f"/sign-in?next=/{SHORT}", False),
    ("nobody", f"/nowhere/{Q}", False),
]
READ = """(texts) => {
  const fields = [...document.querySelectorAll("input, textarea, option")].map((x) => x.value);
  const attributes = [...document.querySelectorAll("[title], [aria-label], [alt]")]
    .flatMap((x) => [x.title, x.ariaLabel, x.alt]);
  const all = [document.documentElement.textContent, ...fields, ...attributes].join("\\n");
  return texts.map((text) => all.includes(text));
}"""


@pytest.mark.sqlite  # which keeps longer words than any door takes
@pytest.mark.softhsm
async def test_every_page_shows_it_and_nothing_runs(sit_down, office, let_in, on_card):
    boss = await let_in("boss", Role.OPERATOR, Role.OFFICER, Role.ADMIN, Role.AUDITOR)
    ids = await planted(office, boss, on_card)
    seats = {"holder": await sit_down(office.holder), "boss": await sit_down(boss)}
    seats["nobody"] = await sit_down()
    canaries = [await watched(seat.context, seat.page) for seat in seats.values()]
    for seat in seats.values():
        headers = {
            "Accept-Language": TEXTS[0],
            "X-Request-Id": TEXTS[1],
            "X-Forwarded-For": TEXTS[1],
        }
        await seat.context.set_extra_http_headers(headers)
    hidden = {}
    for who, path, is_whole in TOUR:
        await told_in_a_cookie(seats[who])
        page = await seats[who].open(path.format(**ids))
        read = await page.evaluate(READ, list(TEXTS))
        if is_whole and not all(read):
            hidden[path] = [ROWS[n].kind for n, seen in enumerate(read) if not seen]
    await imported(seats["boss"])

    assert [canary.numbers for canary in canaries] == [set()] * 3
    assert [canary.said for canary in canaries] == [[]] * 3
    assert hidden == {}


async def told_in_a_cookie(seat: Seat) -> None:
    """Have the next page say something hostile, as the one that sends there could."""
    cookie = {"name": NOTICE, "value": quote(TEXTS[1]), "url": seat.origin}
    await seat.context.add_cookies([cookie])


async def imported(seat: Seat) -> None:
    """Look at what a hostile file would do: its cells, its columns and its name are shown."""
    lines = [
        "login;name;email;" + TEXTS[1],
        *(f'x{n};"{text.replace(chr(34), chr(34) * 2)}";{n};' for n, text in enumerate(TEXTS)),
    ]
    for lines_given in (lines, ["login;name;email", *lines[1:]]):
        page = await seat.open("/import/people")
        file = {
            "name": f"{TEXTS[1]}.csv",
            "mimeType": "text/csv",
            "buffer": "\n".join(lines_given).encode(),
        }
        await page.locator("#file").set_input_files(files=[file])
        await seat.click("Preview")
        await page.wait_for_load_state()
