"""A mail text is tried out from its page: the worker sends it, the relay's word is shown."""

from cardflow.db.tables import PolicyVersion
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.sql import transaction
from tests.api.updates.conftest import policy_toml


async def test_a_text_is_sent_to_whoever_tries_it_out(sit_down, let_in, app, catcher):
    ada, name = await let_in("ada", Role.ADMIN), f"test-{new_id()}"
    text = policy_toml(name, ("tls-client none",), {})
    async with transaction(app.state.cardflow.sessions) as session:
        session.add(PolicyVersion(name=name, version=1, document=text, created_at=utc_now()))
    seat = await sit_down(ada)

    page = await seat.open(f"/policies/{name}/mails/completed/en")
    await page.get_by_label("Subject line").fill(f"Tried {name}")
    await seat.click("Send me a test")

    await seat.sees("The mail relay took the test mail")
    assert await page.get_by_label("Subject line").input_value() == f"Tried {name}"
    assert any(name in message["Subject"] for message in catcher.taken)
