"""Policies before they are in force: what would change, and for how many cards."""

import json
from dataclasses import asdict
from datetime import timedelta

import pytest

from api.card_contents import contents_of, managed_on
from api.policy_trial import PART
from cardflow.db.register_trial import known_cards
from cardflow.db.tables import Card, Certificate
from cardflow.decisions import utc_now
from cardflow.jobs import FoundCertificate, Inventory
from cardflow.model import CardState, CertificateKind, Role, new_id
from cardflow.sql import transaction
from cardflow.wire import to_json
from cardflow.x509 import facts_of_certificate
from tests.api.conftest import reasons
from tests.api.test_policies import POLICIES, SAMPLE, take_in
from tests.api.updates.conftest import a_certificate

TOML = {"Content-Type": "application/toml"}
STAFF = """
name = "staff"
title = "Staff"
contact = "Ask the desk."

[[profiles]]
profile = "tls-client"
mode = "none"
key_type = "P-256"
"""


@pytest.fixture
async def ada(sign_in):
    return await sign_in("ada", Role.ADMIN)


@pytest.fixture
def stock(app, register):
    """Return what registers a card, with certificates of ours by profile and days left."""

    async def add(policy="staff", *, state=CardState.ISSUED, holder=True, **days):
        person = await register(f"holder-{new_id()}") if holder else None
        card = Card(
            id=new_id(),
            token_serial=new_id()[-16:],
            holder_id=person.id if person else None,
            policy_name=policy,
            state=state,
            created_at=utc_now(),
        )
        async with transaction(app.state.cardflow.sessions) as session:
            session.add(card)
            await session.flush()
            session.add_all(certificate(card, name, left) for name, left in days.items())
        return card

    return add


def certificate(card, profile, days, **changes):
    now, digest = utc_now(), new_id().replace("-", "") * 2
    given = {
        "sha256": digest,
        "card_id": card.id,
        "kind": "managed",
        "state": "on_card",
        "profile": profile.replace("_", "-"),
        "key_type": "P-256",
        "cka_id": "aa",
        "spki_sha256": digest,
        "serial_number": "1",
        "subject": "CN=X",
        "issuer": "CN=CA",
        "not_before": now,
        "not_after": now + timedelta(days=days),
        "pem": "",
        "created_at": now,
    }
    return Certificate(**{**given, **changes})


async def tried(client, text=STAFF, **query):
    answer = await client.post(f"{POLICIES}/dry-run", content=text, headers=TOML, params=query)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_preview_names_what_would_change_by_key_and_by_line(ada):
    await take_in(ada, SAMPLE)
    text = SAMPLE.replace("renew_before_days = 30", "renew_before_days = 60")
    text = text.replace("\nupdate = true", "\nupdate = false")
    text = text.replace(
        'profile = "smime-signing"\nmode = "RF"', 'profile = "smime-signing"\nmode = "F"'
    )
    text = text.replace(
        'mode = "F"\nkey_type = "P-256"\nprecheck = true', 'mode = "F"\nkey_type = "P-256"'
    )

    answer = await ada.post(f"{POLICIES}/preview", content=text, headers=TOML)

    told = answer.json()
    assert told["since"] == 1
    assert {(c["key"], c["old"], c["new"]) for c in told["by_key"]} == {
        ("renew_before_days", 30, 60),
        ("permissions.update", True, False),
        ("profiles.smime-signing.mode", "RF", "F"),
        ("profiles.smime-signing.precheck", True, False),
    }
    lines = [(line["sign"], line["text"]) for line in told["by_line"]]
    assert ("removed", "renew_before_days = 30") in lines
    assert ("added", "renew_before_days = 60") in lines
    assert (await ada.get(f"{POLICIES}/rf")).json()["items"][-1]["version"] == 1


async def test_a_preview_of_the_first_version_and_of_the_same_text_say_so(ada):
    first = (await ada.post(f"{POLICIES}/preview", content=SAMPLE, headers=TOML)).json()
    await take_in(ada, SAMPLE)
    same = (await ada.post(f"{POLICIES}/preview", content=SAMPLE, headers=TOML)).json()

    assert (first["since"], first["by_key"], first["same"]) == (None, [], False)
    assert {line["sign"] for line in first["by_line"]} == {"added"}
    assert (same["since"], same["by_key"], same["by_line"], same["same"]) == (1, [], [], True)


async def test_a_preview_of_a_bad_policy_names_every_objection(ada):
    text = STAFF.replace('"none"', '"F"').replace("Ask the desk.", "") + "precheck = true\n"

    answer = await ada.post(f"{POLICIES}/preview", content=text, headers=TOML)

    assert answer.status_code == 422
    fields = [error["field"] for error in answer.json()["errors"]]
    assert fields == ["profiles.tls-client.precheck", "contact"]


async def test_changes_between_any_two_versions_are_shown(ada):
    for title in ("One", "Two", "Three"):
        await take_in(ada, STAFF.replace("Staff", title))

    last = (await ada.get(f"{POLICIES}/staff/3/changes")).json()
    both = (await ada.get(f"{POLICIES}/staff/3/changes", params={"since": 1})).json()
    first = (await ada.get(f"{POLICIES}/staff/1/changes")).json()

    assert [(c["old"], c["new"]) for c in last["by_key"]] == [("Two", "Three")]
    assert [(c["old"], c["new"]) for c in both["by_key"]] == [("One", "Three")]
    assert first["since"] is None
    missing = await ada.get(f"{POLICIES}/staff/3/changes", params={"since": 9})
    assert missing.status_code == 404


async def test_a_profile_that_came_or_went_is_one_change(ada):
    more = STAFF + '\n[[profiles]]\nprofile = "smime-signing"\nmode = "none"\nkey_type = "P-384"\n'
    await take_in(ada, STAFF)

    told = (await ada.post(f"{POLICIES}/preview", content=more, headers=TOML)).json()

    (change,) = told["by_key"]
    assert (change["key"], change["old"]) == ("profiles.smime-signing", None)
    assert change["new"]["key_type"] == "P-384"


async def test_a_dry_run_counts_by_reason_and_says_what_changes_from_today(ada, stock):
    await take_in(ada, STAFF)
    missing = await stock()
    await stock(tls_client=200)
    await stock(tls_client=10)
    await stock(tls_client=-3)
    await stock("other", tls_client=200)
    text = STAFF.replace('"P-256"', '"P-384"').replace("[[p", "renew_before_days = 0\n\n[[p")

    *parts, last = await tried(ada, text)

    assert parts == [{"done": 0, "of": 4, "result": None}]
    result = last["result"]
    counted = {(r["profile"], r["reason"]): r["cards"] for r in result["reasons"]}
    assert counted == {
        ("tls-client", "not on the card yet"): 1,
        ("tls-client", "expired"): 1,
        ("tls-client", "the policy now asks for P-384 keys"): 2,
    }
    assert (result["cards"], result["need"], result["need_today"]) == (4, 4, 3)
    assert (result["newly"], result["no_longer"]) == (1, 0)
    assert result["lanes"] == [{"profile": "tls-client", "today": 3, "then": 4}]
    example = next(r for r in result["reasons"] if r["reason"].startswith("not on"))
    assert example["examples"] == [{"id": missing.id, "token_serial": missing.token_serial}]


async def test_a_dry_run_counts_cards_that_no_update_can_be_opened_on(ada, stock, register):
    await stock(state=CardState.DISABLED)
    await stock(state=CardState.REVOKED)
    await stock(holder=False, state=CardState.CLEAN)
    await stock(state=CardState.PENDING)

    result = (await tried(ada))[-1]["result"]

    assert {(c["reason"], c["cards"]) for c in result["cannot"]} == {
        ("the card is disabled", 1),
        ("the card is revoked", 1),
        ("the card is not assigned to anybody", 1),
    }
    assert (result["need"], result["open"]) == (1, 1)


async def test_a_dry_run_can_count_all_cards_as_if_they_followed_the_policy(ada, stock):
    await take_in(ada, STAFF)
    await stock("", smime_signing=300)
    await stock("staff", tls_client=300)

    following = (await tried(ada))[-1]["result"]
    everyone = (await tried(ada, cards="all"))[-1]["result"]

    assert (following["cards"], following["need"]) == (1, 0)
    assert (everyone["cards"], everyone["need"]) == (2, 1)
    assert {r["reason"] for r in everyone["reasons"]} == {
        "not on the card yet",
        "the policy no longer has it",
    }


async def test_a_dry_run_takes_a_version_by_name_and_reports_after_each_part(ada, app):
    await take_in(ada, STAFF)
    async with transaction(app.state.cardflow.sessions) as session:
        session.add_all(
            Card(id=new_id(), token_serial=f"s{n}", policy_name="staff", state="Clean",
                 created_at=utc_now())
            for n in range(PART + 1)
        )  # fmt: skip

    answer = await ada.post(f"{POLICIES}/dry-run", params={"name": "staff", "version": 1})

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [(line["done"], line["of"]) for line in lines] == [
        (0, PART + 1), (PART, PART + 1), (PART + 1, PART + 1),
    ]  # fmt: skip
    assert answer.headers["content-type"].startswith("application/jsonl")


async def test_a_dry_run_of_what_is_not_there_or_not_good_is_refused_before_it_starts(ada):
    unknown = await ada.post(f"{POLICIES}/dry-run", params={"name": "nobody"})
    bad = await ada.post(f"{POLICIES}/dry-run", content='name = "x"', headers=TOML)
    plain = await ada.post(f"{POLICIES}/dry-run", content=STAFF)
    nothing = await ada.post(f"{POLICIES}/dry-run", params={"version": 1})

    answers = (unknown, bad, plain, nothing)
    assert [answer.status_code for answer in answers] == [404, 422, 415, 422]
    assert "missing" in reasons(bad)
    assert "there is no policy to try" in reasons(nothing)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_administrators_try_policies(sign_in, role):
    somebody = await sign_in("sam", role)

    for path in ("preview", "dry-run"):
        answer = await somebody.post(f"{POLICIES}/{path}", content=STAFF, headers=TOML)
        assert answer.status_code == 403
    assert (await somebody.get("/api/v1/policy-samples")).status_code == 403


async def test_samples_can_be_taken_in_as_they_are(ada):
    samples = (await ada.get("/api/v1/policy-samples")).json()["items"]

    assert {sample["name"] for sample in samples} == {"none", "r", "f", "rf"}
    for sample in samples:
        assert (await take_in(ada, sample["document"])).status_code == 201


async def test_lists_say_who_made_a_version_and_how_many_cards_follow(ada, stock):
    await take_in(ada, STAFF)
    await stock("staff")

    (policy,) = (await ada.get(POLICIES)).json()["items"]
    (version,) = (await ada.get(f"{POLICIES}/staff")).json()["items"]

    assert (policy["author"], policy["cards"]) == ("Ada", 1)
    assert version["author"] == "Ada"


async def test_looking_at_many_cards_sees_what_looking_at_one_sees(app, stock):
    card = await stock()
    pems = [a_certificate(f"CN={n}") for n in range(4)]
    found = [facts_of_certificate(pem) for pem in pems]
    inventory = Inventory(
        certificates=tuple(FoundCertificate("aa", "", pem, True) for pem in pems[:3])
    )
    states = ("on_card", "revoked", "on_card", "on_card")
    kinds = ("managed", "managed", "tracked", "managed")  # the last is missing on the card
    async with transaction(app.state.cardflow.sessions) as session:
        row = await session.get_one(Card, card.id)
        row.inventory = json.dumps(to_json(inventory))
        rows = [
            certificate(card, f"p{n}", 90, sha256=facts.sha256, state=states[n], kind=kinds[n])
            for n, facts in enumerate(found)
        ]
        session.add_all(rows)
    async with transaction(app.state.cardflow.reads) as session:
        (known,) = await known_cards(session, [card.id])

    one = [
        (c.profile, c.revoked, c.ref.certificate_sha256)
        for c in contents_of(row, {r.sha256: r for r in rows}).certificates
        if c.kind is CertificateKind.MANAGED
    ]

    assert [(c.profile, c.revoked, c.ref.certificate_sha256) for c in managed_on(known)] == one
    assert len(one) == 2
    assert asdict(known)["holder_active"] is True
