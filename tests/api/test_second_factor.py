"""One-time codes beside the password: set up, asked for, used once, taken away."""

import json
import re
from base64 import b32decode
from datetime import timedelta

import pytest
from sqlalchemy import select

from api.second_factor import counts
from cardflow.db.letters import letters
from cardflow.db.tables import AuditEntry, Mail, RecoveryCode, SecondFactor
from cardflow.decisions import utc_now
from cardflow.key_ring import KeyRing
from cardflow.model import Role, new_id
from cardflow.second_factor import code_at
from cardflow.sql import transaction
from tests.api.conftest import PASSWORD, client_of, reasons
from tests.api.test_step_up import FORM, NEW, PAGE, fields_of, long_ago

FACTOR = "/api/v1/me/second-factor"


def now_code(secret: str, *, steps: int = 0) -> str:
    """Return what the app shows now, or ``steps`` later."""
    return code_at(b32decode(secret), utc_now() + steps * timedelta(seconds=30))


async def set_up(client) -> tuple[str, list[str]]:
    """Return the secret and the recovery codes of a person who has set codes up."""
    secret = (await client.post(FACTOR)).json()["secret"]
    confirmed = await client.post(f"{FACTOR}/confirm", json={"code": now_code(secret)})
    assert confirmed.status_code == 200, confirmed.text
    return secret, confirmed.json()["codes"]


async def sign_in_with(client, code="", login="holly"):
    body = {"login": login, "password": PASSWORD, "code": code}
    return await client.post("/api/v1/session", json=body)


async def test_a_secret_counts_only_once_a_code_has_confirmed_it(sign_in, anonymous):
    holly = await sign_in("holly")

    begun = await holly.post(FACTOR)
    before = await sign_in_with(anonymous)
    wrong = await holly.post(f"{FACTOR}/confirm", json={"code": "000000"})
    confirmed = await holly.post(
        f"{FACTOR}/confirm", json={"code": now_code(begun.json()["secret"])}
    )
    after = await sign_in_with(anonymous)

    assert begun.json()["uri"].startswith("otpauth://totp/")
    assert before.status_code == 201
    assert wrong.status_code == 422
    assert len(confirmed.json()["codes"]) == 10
    assert after.status_code == 401
    assert after.json()["type"].endswith("code-needed")


async def test_what_is_kept_of_secret_and_recovery_codes_opens_nothing(sign_in, app):
    secret, codes = await set_up(await sign_in("holly"))

    async with transaction(app.state.cardflow.reads) as session:
        kept = (await session.scalars(select(SecondFactor))).one()
        digests = (await session.scalars(select(RecoveryCode.sha256))).all()

    assert secret not in kept.secret
    assert b32decode(secret).hex() not in kept.secret
    assert not set(codes) & set(digests)


async def test_a_code_lets_in_once_and_never_again(sign_in, anonymous):
    secret, _ = await set_up(await sign_in("holly"))
    code = now_code(secret, steps=1)

    first, second = await sign_in_with(anonymous, code), await sign_in_with(anonymous, code)
    spent = await sign_in_with(anonymous, now_code(secret))

    assert first.status_code == 201
    assert second.status_code == spent.status_code == 401
    assert second.json()["type"].endswith("code-wrong")


async def test_a_code_says_nothing_without_the_password(sign_in, anonymous):
    secret, _ = await set_up(await sign_in("holly"))

    body = {"login": "holly", "password": "wrong password", "code": now_code(secret, steps=1)}
    answer = await anonymous.post("/api/v1/session", json=body)

    assert answer.json()["type"].endswith("sign-in-failed")


async def test_guessing_codes_is_stopped_also_between_right_passwords(sign_in, anonymous):
    await set_up(await sign_in("holly"))

    answers = []
    for _ in range(6):
        await sign_in_with(anonymous)  # asks for the code, and forgives nothing
        answers.append(await sign_in_with(anonymous, "000000"))

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]


async def test_a_recovery_code_lets_in_once_and_the_trail_knows(sign_in, anonymous, app):
    holly = await sign_in("holly")
    _, codes = await set_up(holly)

    first = await sign_in_with(anonymous, codes[0].upper())
    second = await sign_in_with(anonymous, codes[0])
    shown = await holly.get(FACTOR)

    assert (first.status_code, second.status_code) == (201, 401)
    assert shown.json()["recovery_codes_left"] == 9
    assert {"second_factor_set_up", "recovery_code_used"} <= set(await kinds(app))


async def test_new_recovery_codes_make_the_old_ones_useless(sign_in, anonymous):
    holly = await sign_in("holly")
    _, codes = await set_up(holly)

    made = await holly.post(f"{FACTOR}/recovery-codes")

    assert (await sign_in_with(anonymous, codes[0])).status_code == 401
    assert (await sign_in_with(anonymous, made.json()["codes"][0])).status_code == 201


async def test_setting_up_ends_sign_ins_that_were_made_without_a_code(sign_in, anonymous):
    holly = await sign_in("holly")
    await sign_in_with(anonymous)

    await set_up(holly)

    assert (await anonymous.get("/api/v1/me")).status_code == 401
    assert (await holly.get("/api/v1/me")).status_code == 200


async def test_it_is_set_up_once_and_taken_away_with_a_fresh_sign_in(sign_in, anonymous, app):
    holly = await sign_in("holly")
    await set_up(holly)

    again = await holly.post(FACTOR)
    await long_ago(app)
    stale = await holly.delete(FACTOR)
    still = await sign_in_with(anonymous)
    await long_ago(app, minutes=-20)
    removed = await holly.delete(FACTOR)

    assert again.status_code == 409
    assert stale.status_code == still.status_code == 401
    assert removed.status_code == 204
    assert (await sign_in_with(anonymous)).status_code == 201


async def test_an_administrator_resets_what_somebody_lost(sign_in, anonymous, app):
    holly = await sign_in("holly")
    await set_up(holly)
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.delete(f"/api/v1/people/{holly.headers['X-Person']}/second-factor")

    assert answer.status_code == 204
    assert (await holly.get("/api/v1/me")).status_code == 401
    assert (await sign_in_with(anonymous)).status_code == 201
    assert "second_factor_reset" in await kinds(app)
    missing = await ada.delete(f"/api/v1/people/{new_id()}/second-factor")
    assert missing.status_code == 404


async def test_who_loses_their_codes_to_an_administrator_has_a_mail(sign_in, app):
    holly, olga = await sign_in("holly"), await sign_in("olga")
    await set_up(holly)
    ada = await sign_in("ada", Role.ADMIN)

    for one in (holly, olga):  # olga has none to lose
        await ada.delete(f"/api/v1/people/{one.headers['X-Person']}/second-factor")

    async with transaction(app.state.cardflow.sessions) as session:
        mails = (await session.scalars(select(Mail))).all()
        (letter,) = await letters(session, [mail.id for mail in mails])
    assert (letter.kind, letter.address, letter.path) == (
        "codes_reset",
        "holly@example.org",
        "/account",
    )


async def test_a_proof_for_an_act_of_weight_needs_the_code_too(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    secret, _ = await set_up(ada)
    await long_ago(app)
    sent = {**FORM, **NEW, "confirm_password": PASSWORD}

    asked = await ada.post("/people/-/new", data=NEW, headers=PAGE)
    without = await ada.post("/people/-/new", data=sent, headers=PAGE)
    code = now_code(secret, steps=1)
    done = await ada.post("/people/-/new", data={**sent, "confirm_code": code}, headers=PAGE)

    assert 'name="confirm_code"' in asked.text
    assert without.status_code == 401
    assert done.status_code == 303


async def test_pages_ask_for_the_code_after_the_password(sign_in, anonymous):
    secret, _ = await set_up(await sign_in("holly"))
    typed = {"login": "holly", "password": PASSWORD, "next": "/cards"}

    asked = await anonymous.post("/sign-in", data=typed, headers=PAGE)
    carried = fields_of(asked.text)
    wrong = await anonymous.post("/sign-in/code", data={**carried, "code": "1"}, headers=PAGE)
    sent = {**fields_of(wrong.text), "code": now_code(secret, steps=1)}
    done = await anonymous.post("/sign-in/code", data=sent, headers=PAGE)

    assert PASSWORD not in asked.text
    assert carried["next"] == "/cards"
    assert wrong.status_code == 401
    assert (done.status_code, done.headers["location"]) == (303, "/cards")


@pytest.mark.parametrize("half", ["", "no", '{"key": "1", "data": "00"}', "[]", "{}"])
async def test_a_made_up_half_is_sent_back_to_the_start(anonymous, half):
    answer = await anonymous.post("/sign-in/code", data={"half": half, "code": "1"}, headers=PAGE)

    assert answer.status_code == 401
    assert 'action="/sign-in"' in answer.text


async def test_pages_set_codes_up_and_remove_them(sign_in):
    holly = await sign_in("holly")

    begun = await holly.post("/account/codes", headers=PAGE)
    secret = re.search(r"[A-Z2-7]{32}", begun.text)[0]
    wrong = await holly.post("/account/codes/confirm", data={"code": "1"}, headers=PAGE)
    done = await holly.post("/account/codes/confirm", data={"code": now_code(secret)}, headers=PAGE)
    renewed = await holly.post("/account/codes/recovery", headers=PAGE)
    removed = await holly.post("/account/codes/remove", headers=PAGE)

    assert "<svg" in begun.text
    assert wrong.status_code == 422
    assert len(re.findall(r"(?:[2-9a-z]{4}-){5}[2-9a-z]{4}", done.text)) == 10
    assert renewed.status_code == 200
    assert removed.status_code == 303


class TestRequired:
    """A role must use one-time codes."""

    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"second_factor_roles": frozenset({Role.OFFICER})})

    async def test_who_has_the_role_does_nothing_before_codes_are_set_up(self, sign_in):
        otto, holly = await sign_in("otto", Role.OFFICER), await sign_in("holly")

        refused = await otto.get("/api/v1/ca/requests")
        page = await otto.get("/updates", headers=PAGE)
        spared = await holly.get("/api/v1/cards")
        await set_up(otto)
        allowed = await otto.get("/api/v1/updates")
        removing = await otto.delete(FACTOR)

        assert refused.status_code == 403
        assert refused.json()["type"].endswith("one-time-codes-needed")
        assert page.headers["location"].startswith("/account/codes")
        assert (spared.status_code, allowed.status_code) == (200, 200)
        assert "administrator" in reasons(removing)[0]

    async def test_no_token_is_made_before_and_one_made_after_works(self, sign_in, app):
        otto = await sign_in("otto", Role.OFFICER)
        wanted = {"name": "a", "roles": ["officer"]}

        refused = await otto.post("/api/v1/tokens", json=wanted)
        await set_up(otto)
        made = await otto.post("/api/v1/tokens", json=wanted)
        script = client_of(app, headers={"Authorization": f"Bearer {made.json()['token']}"})

        assert refused.status_code == 403
        assert (await script.get("/api/v1/updates")).status_code == 200
        await script.aclose()


async def kinds(app) -> list[str]:
    async with transaction(app.state.cardflow.reads) as session:
        return list((await session.scalars(select(AuditEntry.kind))).all())


async def test_a_secret_moves_to_the_rings_current_key_when_it_is_used(sign_in, app):
    secret, _ = await set_up(await sign_in("holly"))
    state = app.state.cardflow
    ring = KeyRing(state.keys.sealing.current, state.keys.sealing.keys).rotated("next")

    async with transaction(state.sessions) as session:
        row = (await session.scalars(select(SecondFactor))).one()
        assert await counts(session, ring, row, now_code(secret, steps=1), drift=1)

    async with transaction(state.reads) as session:
        kept = (await session.scalars(select(SecondFactor))).one()
    assert json.loads(kept.secret)["key"] == "next"
