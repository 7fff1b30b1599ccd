"""The administrator's pages in a real browser, over an installation of their own that is empty."""

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx2
import pytest
import uvicorn

from api.app import create_agent_app, create_app
from api.auth import SESSION_PREFIX, new_token, token_digest
from cardflow.db.register_identity import open_session
from cardflow.db.tables import Card, Person
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.settings import Settings
from cardflow.sql import transaction
from cli.local_secrets import make_local_secrets
from cli.ports import free_ports
from tests.api.conftest import NOBODY, client_of
from tests.api.workstation import Workstation

PEOPLE_FILE = """login;name;email;roles
holly;Holly Wood;holly@example.org;holder
olga;Olga Ray;olga@example.org;operator
two words;Nobody;nobody@example.org;holder
otto;Otto;no address;holder
holly;Holly Again;again@example.org;holder
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory, databases):
    """Return the state directory of an empty installation, to be served anew by each test."""
    directory = tmp_path_factory.mktemp("house")
    make_local_secrets(Settings(state_dir=directory))
    databases.furnish(directory)
    return directory


@pytest.fixture
def settings(house, databases, tmp_path):
    """Return the settings of an empty installation, without Temporal and without mail."""
    (nobody,) = free_ports(1)
    return Settings(
        state_dir=house,
        database_url=databases.migrated(tmp_path),
        temporal_address=NOBODY,
        smtp_port=nobody,
    )


@pytest.fixture
async def app(settings):
    """Yield the people's door, running."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def origin(app):
    """Yield where the pages are."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    yield f"http://localhost:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
async def ada(app):
    """Yield the first administrator, signed in."""
    person = Person(id=new_id(), login="ada", name="Ada", roles=[Role.ADMIN], created_at=utc_now())
    token, now = new_token(SESSION_PREFIX), utc_now()
    async with transaction(app.state.cardflow.sessions) as session:
        session.add(person)
        await session.flush()
        until = now + timedelta(hours=1)
        await open_session(session, person.id, token_digest(token), now=now, until=until)
    headers = {"Authorization": f"Bearer {token}", "X-Person": person.id}
    async with client_of(app, headers=headers) as client:
        yield client


@asynccontextmanager
async def workstation_of(app, person):
    """Yield a workstation that has enrolled for the person and is not confirmed."""

    @asynccontextmanager
    async def shared(_settings):
        yield app.state.cardflow

    door = create_agent_app(app.state.cardflow.settings, shared)
    transport = httpx2.ASGITransport(app=door)
    async with (
        door.router.lifespan_context(door),
        httpx2.AsyncClient(transport=transport, base_url="https://localhost:8443") as client,
    ):
        workstation = Workstation(client)
        code = (await person.post("/api/v1/agents/codes", json={})).json()["code"]
        await workstation.enrol(code)
        yield workstation


async def is_fit(seat):
    assert await seat.violations() == []
    assert await seat.overflow() == 0


def a_file(text, name="file.csv"):
    return {"name": name, "mimeType": "text/csv", "buffer": text.encode()}


async def test_an_empty_system_leads_to_a_working_one(sit_down, ada, app):
    seat = await sit_down(ada)

    page = await seat.open("/")
    assert page.url.endswith("/welcome")
    await is_fit(seat)
    await seat.click("Import people from a file")
    await page.set_input_files("#file", a_file(PEOPLE_FILE))
    await seat.click("Preview")
    await seat.click("Take in 2 people")
    await seat.sees("Result of the import")

    await seat.open("/welcome")
    await seat.click("Web services, one visit")
    await seat.click("Preview")
    await seat.sees("No card follows this policy yet")
    await seat.click("Put in force")
    await seat.sees("This version is in force now.")

    await seat.open("/welcome")
    await seat.click("Import cards from a file")
    cards = "token_serial;token_label;holder;policy_name\n0b1c2d;Card;holly;none\n"
    await page.set_input_files("#file", a_file(cards))
    await seat.click("Preview")
    await seat.click("Take in 1 card")
    await seat.sees("Result of the import")

    await seat.open("/welcome")
    async with workstation_of(app, ada):
        (agent,) = (await ada.get("/api/v1/agents")).json()["items"]
        await ada.post(f"/api/v1/agents/{agent['id']}/confirm", json={"words": agent["words"]})
        await seat.sees("All steps are done")
    assert (await seat.open("/")).url.endswith("/updates")


async def test_nobody_registered_is_told_with_the_way_to_the_first_administrator(sit_down):
    seat = await sit_down()

    await seat.open("/sign-in")

    await seat.sees("cardflow people first-admin")
    await is_fit(seat)


async def test_a_new_version_is_seen_counted_and_put_in_force(sit_down, ada, app):
    sample = next(
        one["document"]
        for one in (await ada.get("/api/v1/policy-samples")).json()["items"]
        if one["name"] == "rf"
    )
    await ada.post("/api/v1/policies", content=sample, headers={"Content-Type": "application/toml"})
    async with transaction(app.state.cardflow.sessions) as session:
        session.add_all(
            Card(id=new_id(), token_serial=f"s{n}", holder_id=ada.headers["X-Person"],
                 policy_name="rf", state="Assigned", created_at=utc_now())
            for n in range(3)
        )  # fmt: skip
    seat = await sit_down(ada)

    page = await seat.open("/policies")
    await is_fit(seat)
    await seat.click("Staff card: logon and e-mail, with both forms", "link")
    await is_fit(seat)
    await seat.click("New version")
    await is_fit(seat)
    await page.get_by_label("Renew this many days before expiry").fill("60")
    await page.get_by_label("The holder may cancel an update").uncheck()
    await page.locator("[id='profiles.tls-client.use']").select_option("always")
    await seat.click("Preview")

    await seat.sees("3 cards would need an update, of 3 cards.")
    await seat.sees("The holder may not cancel an update")
    await page.locator("td", has_text="Sign-in to web services").first.wait_for()
    await page.get_by_text("Line by line").click()
    await is_fit(seat)
    await seat.click("Put in force")
    await seat.sees("This version is in force now.")
    await is_fit(seat)
    assert (await ada.get("/api/v1/policies/rf/2")).json()["renew_before_days"] == 60
    await page.goto(seat.origin + "/policies/rf/2/changes")
    await seat.sees("60 days")
    await is_fit(seat)


async def test_a_bad_policy_shows_every_objection_at_once_and_keeps_what_was_typed(sit_down, ada):
    seat = await sit_down(ada)

    page = await seat.open("/policies/-/new?sample=none")
    await page.get_by_label("Whom a holder can ask").fill("")
    await page.get_by_label("Hours between reminders").fill("soon")
    await page.locator("[id='profiles.tls-client.approvals_needed']").fill("9")
    await seat.click("Preview")

    await seat.sees("Input should be a valid integer")
    for name in ("contact", "reminder_hours", "profiles.tls-client.approvals_needed"):
        field = page.locator(f"[id='{name}']")
        assert await field.get_attribute("aria-invalid") == "true", name
    assert await page.get_by_label("Hours between reminders").input_value() == "soon"
    await is_fit(seat)

    await seat.click("Go on as text")
    await seat.click("Preview")
    await seat.sees("Line 3")
    assert 'reminder_hours = "soon"' in await page.get_by_label("The policy as TOML").input_value()
    await is_fit(seat)


async def test_a_file_shows_what_it_would_do_before_anything_is_stored(sit_down, ada):
    seat = await sit_down(ada)

    page = await seat.open("/import/people")
    await is_fit(seat)
    await page.set_input_files("#file", a_file("login;shoe_size\nholly;7\n"))
    await seat.click("Preview")
    await seat.sees("there is no column shoe_size")
    await page.set_input_files("#file", a_file(PEOPLE_FILE))
    await seat.click("Preview")
    await seat.sees("3 refusals")
    await seat.sees("the same stands in line 2 already")
    await is_fit(seat)
    assert len((await ada.get("/api/v1/people")).json()["items"]) == 1

    await seat.click("Take in 2 people")
    await seat.sees("Result of the import")
    await is_fit(seat)
    assert len((await ada.get("/api/v1/people")).json()["items"]) == 3


async def test_without_javascript_a_file_and_a_count_are_carried_out_too(sit_down, ada):
    seat = await sit_down(ada, java_script_enabled=False)

    page = await seat.open("/import/people")
    await page.set_input_files("#file", a_file(PEOPLE_FILE))
    await seat.click("Preview")
    await seat.click("Take in 2 people")
    await seat.sees("The import is done.")
    await seat.open("/policies/-/new?sample=none")
    await seat.click("Preview")
    await seat.click("Count the cards")
    await seat.sees("No card follows this policy yet")


async def test_a_person_is_changed_disabled_and_given_a_password_that_is_shown_once(sit_down, ada):
    person = (await ada.post("/api/v1/people", json={"login": "holly", "name": "Holly"})).json()
    seat = await sit_down(ada)

    page = await seat.open("/people?search=hol")
    await is_fit(seat)
    await seat.click("Holly", "link")
    await page.get_by_label("Surname").fill("Wood")
    await page.get_by_label("Operator").check()
    await seat.click("Keep the changes")
    await seat.sees("The changes are kept.")
    await seat.click("Give a temporary password")
    await seat.sees("Temporary password, shown this once")
    secret = await page.locator(".secret").inner_text()
    await is_fit(seat)
    await page.get_by_text("Disable this person").click()
    await seat.click("Disable Holly")
    await seat.sees("The person is disabled and signed out everywhere.")

    assert secret not in await page.content()
    seen = (await ada.get(f"/api/v1/people/{person['id']}")).json()
    assert (seen["surname"], seen["roles"], seen["active"], seen["must_change_password"]) == (
        "Wood", ["holder", "operator"], False, True,
    )  # fmt: skip


async def test_an_administrator_who_would_lock_themselves_out_is_told_and_loses_nothing(
    sit_down, ada
):
    seat = await sit_down(ada)

    page = await seat.open(f"/people/{ada.headers['X-Person']}/edit")
    await page.get_by_label("Surname").fill("Holm")
    await page.get_by_label("Administrator").uncheck()
    await page.get_by_label("Auditor").check()
    await seat.click("Keep the changes")

    await seat.sees("you cannot stop being an administrator")
    assert await page.get_by_label("Surname").input_value() == "Holm"


async def test_an_agent_appears_is_confirmed_by_its_words_and_ended(sit_down, ada, app):
    seat = await sit_down(ada)
    page = await seat.open("/agents")
    await seat.sees("No agent is enrolled here yet.")
    async with workstation_of(app, ada):
        (agent,) = (await ada.get("/api/v1/agents")).json()["items"]
        await seat.sees("To be confirmed")
        await is_fit(seat)
        assert agent["words"] not in await page.content()
        await page.get_by_label("The six words").fill("not these words at all really")
        await seat.click("Confirm this workstation")
        await seat.sees("these are not the words of this agent")
        await page.get_by_label("The six words").fill(agent["words"])
        await seat.click("Confirm this workstation")
        await seat.sees("The workstation is confirmed.")
        await page.get_by_text("End this agent").click()
        await page.get_by_role("button", name="End the agent").click()
        await seat.sees("The workstation can do nothing any more.")

    assert (await ada.get("/api/v1/agents")).json()["items"][0]["state"] == "revoked"


async def test_health_says_what_does_not_work_and_what_helps(sit_down, ada):
    seat = await sit_down(ada)

    await seat.open("/health")

    await seat.sees("4 things do not work.")
    await seat.sees("start Temporal, or correct CARDFLOW_TEMPORAL_ADDRESS")
    await is_fit(seat)


async def test_a_token_is_shown_once_and_opens_nothing_after_its_end(sit_down, ada, app):
    seat = await sit_down(ada)

    page = await seat.open("/tokens")
    await page.get_by_label("Name").fill("nightly")
    await seat.click("Make the token")
    secret = await page.locator(".secret").inner_text()
    async with client_of(app, headers={"Authorization": f"Bearer {secret}"}) as service:
        assert (await service.get("/api/v1/people")).status_code == 200
        await is_fit(seat)
        await page.get_by_role("button", name="End nightly").click()
        await seat.sees("The token opens nothing any more.")
        assert (await service.get("/api/v1/people")).status_code == 401


async def test_a_policy_gets_mail_texts_of_its_own(sit_down, ada):
    await ada.post(
        "/api/v1/policies",
        content=(await ada.get("/api/v1/policy-samples")).json()["items"][1]["document"],
        headers={"Content-Type": "application/toml"},
    )
    seat = await sit_down(ada)

    page = await seat.open("/policies/none/mails")
    await is_fit(seat)
    await seat.click("English – Completed", "link")
    await page.get_by_label("Text").fill("Dear {nobody},\n\ndone.")
    await seat.click("Preview")
    await seat.sees("{nobody} is no placeholder of this mail")
    await page.get_by_label("Text").fill("Dear {name},\n\nyour card {card} is done.")
    await seat.click("Preview")
    await seat.sees("Preview, with made-up contents")
    await is_fit(seat)
    await seat.click("Keep this text")
    await seat.sees("Mails say this from now on.")
    await seat.click("Send me a test")
    await seat.sees("Temporal does not answer")
    await page.get_by_text("The default text", exact=True).click()
    await seat.click("Return to the default text")
    await seat.sees("Mails say the default text again.")


@pytest.mark.parametrize("path", ["/profiles", "/people/-/new", "/import/cards"])
async def test_the_other_pages_are_accessible_and_fit_a_phone(sit_down, ada, path):
    seat = await sit_down(ada)

    await seat.open(path)

    await is_fit(seat)


async def test_an_administrator_who_speaks_german_reads_german(sit_down, ada):
    await ada.patch(f"/api/v1/people/{ada.headers['X-Person']}", json={"language": "de"})
    seat = await sit_down(ada)

    for path, words in (
        ("/health", "4 Teile arbeiten nicht."),
        ("/welcome", "Erste Schritte"),
        ("/policies/-/new?sample=none", "Neue Richtlinie"),
        ("/agents", "Einen Arbeitsplatz anmelden"),
    ):
        await seat.open(path)
        await seat.sees(words)
        assert await seat.overflow() == 0
