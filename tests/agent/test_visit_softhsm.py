import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cardflow.jobs import ClearJob, JobKind, Outcome, write_message
from cardflow.model import KeyType, ObjectRef
from cardflow.x509 import load_certificate, load_csr, sha256_of, spki_sha256, verify_signature
from tests.agent.desk import ref_of
from tests.build import of_version_60

pytestmark = [pytest.mark.softhsm, pytest.mark.usefixtures("forked_visits")]

KEY_TYPES = [
    KeyType.RSA_2048,
    KeyType.P_256,
    pytest.param(KeyType.P_384, marks=pytest.mark.slow),
]


async def prepared(desk, *orders):
    desk.person.types(desk.pin)
    result = await desk.run(desk.prepare_job(*orders))
    assert result.outcome is Outcome.DONE, result
    return result.keys


async def written(desk, *orders):
    """Return the certificates on the card after a whole update."""
    keys = await prepared(desk, *orders)
    certificates = tuple(desk.certificate_for(key) for key in keys)
    desk.person.types(desk.pin)
    result = await desk.run(desk.write_job(*certificates))
    assert result.outcome is Outcome.DONE, result
    return certificates


@pytest.mark.parametrize("key_type", KEY_TYPES)
async def test_prepare_leaves_a_pair_on_the_card_and_returns_its_csr(desk, key_type):
    order = desk.order(key_type=key_type)
    (key,) = await prepared(desk, order)

    csr = load_csr(key.csr_pem)
    assert csr.is_signature_valid
    assert csr.subject.rfc4514_string() == "CN=Ann Example,O=logon"
    assert (key.lane, key.cka_id, key.reused) == ("logon", order.cka_id, False)
    assert desk.contents() == {
        "Certificate": [],
        "Private Key": [order.cka_id],
        "Public Key": [order.cka_id],
    }


async def test_preparing_again_returns_the_same_bytes_and_changes_nothing(desk):
    orders = desk.order("logon"), desk.order("sign", KeyType.RSA_2048)
    first = await prepared(desk, *orders)
    before = desk.contents()
    second = await prepared(desk, *orders)

    assert [key.csr_pem for key in first] == [key.csr_pem for key in second]
    assert [key.reused for key in second] == [True, True]
    assert desk.contents() == before


@pytest.mark.parametrize("key_type", KEY_TYPES)
async def test_write_leaves_the_certificate_beside_its_key_and_proves_it(desk, key_type):
    (key,) = await prepared(desk, desk.order(key_type=key_type))
    order = desk.certificate_for(key)
    job = desk.write_job(order)
    desk.person.types(desk.pin)
    result = await desk.run(job)

    (proof,) = result.proofs
    der = desk.certificate(key.cka_id)
    certificate = load_certificate(order.certificate_pem)
    message = write_message(job.nonce, bytes.fromhex(sha256_of(der)), desk.token_serial)
    assert load_certificate(proof.certificate_pem) == certificate
    assert verify_signature(certificate.public_key(), base64.b64decode(proof.signature), message)
    assert [found.has_key for found in result.inventory.certificates] == [True]


async def test_writing_again_changes_nothing(desk):
    (order,) = await written(desk, desk.order())
    before = desk.contents()
    desk.person.types(desk.pin)
    result = await desk.run(desk.write_job(order))

    assert result.outcome is Outcome.DONE
    assert desk.contents() == before


async def test_a_certificate_for_another_key_is_not_written(desk):
    keys = await prepared(desk, desk.order("logon"), desk.order("sign"))
    foreign = desk.certificate_for(keys[1])
    swapped = type(foreign)("logon", keys[0].cka_id, foreign.certificate_pem, "Log-on")
    desk.person.types(desk.pin)
    result = await desk.run(desk.write_job(swapped))

    assert result.outcome is Outcome.CERTIFICATE_MISMATCH
    assert desk.contents()["Certificate"] == []


async def test_a_certificate_whose_key_is_gone_is_not_written(desk):
    (key,) = await prepared(desk)
    desk.tool("--delete-object", "--type", "privkey", "--id", key.cka_id)
    desk.person.types(desk.pin)
    result = await desk.run(desk.write_job(desk.certificate_for(key)))

    assert result.outcome is Outcome.KEY_MISSING
    assert desk.contents()["Certificate"] == []


@pytest.mark.parametrize("key_type", KEY_TYPES)
async def test_clean_up_removes_exactly_what_is_named_and_may_be_repeated(desk, key_type):
    old, other = await written(desk, desk.order("old", key_type), desk.order("other", key_type))
    named = ref_of(old.cka_id, old.certificate_pem)
    for _ in range(2):
        desk.person.types(desk.pin)
        result = await desk.run(desk.clean_up_job(named))
        assert result.outcome is Outcome.DONE
        assert result.removed == (named,)
        assert all(ids == [other.cka_id] for ids in desk.contents().values())


async def test_what_has_the_right_id_and_other_bytes_stays(desk):
    (order,) = await written(desk, desk.order())
    before = desk.contents()
    desk.person.types(desk.pin)
    result = await desk.run(desk.clean_up_job(ObjectRef(order.cka_id, "00" * 32, "11" * 32)))

    assert result.outcome is Outcome.DONE
    assert desk.contents() == before


async def test_a_certificate_may_go_while_its_key_stays(desk):
    (order,) = await written(desk, desk.order())
    named = ref_of(order.cka_id, order.certificate_pem)
    desk.person.types(desk.pin)
    await desk.run(desk.clean_up_job(ObjectRef(named.cka_id, named.certificate_sha256)))

    contents = desk.contents()
    assert contents["Certificate"] == []
    assert contents["Private Key"] == [order.cka_id]


async def test_debts_are_paid_before_anything_is_created(desk):
    (debt,) = await prepared(desk, desk.order("ended"))
    ref = ObjectRef(debt.cka_id, spki_sha256=spki_sha256(load_csr(debt.csr_pem)))
    desk.person.types(desk.pin)
    result = await desk.run(desk.prepare_job(desk.order("new"), debts=[ref]))

    assert result.removed == (ref,)
    assert desk.contents()["Private Key"] == [desk.order("new").cka_id]


async def test_a_torn_pair_of_ours_is_made_anew_and_others_stay(desk):
    keys = await prepared(desk, desk.order("logon"), desk.order("other"))
    desk.tool("--delete-object", "--type", "privkey", "--id", keys[0].cka_id)
    again = await prepared(desk, desk.order("logon"))

    assert again[0].reused is False
    assert again[0].csr_pem != keys[0].csr_pem
    assert desk.contents()["Public Key"] == sorted(key.cka_id for key in keys)


async def test_a_certificate_of_no_known_version_beside_ours_is_left_alone(desk, tmp_path):
    (key,) = await prepared(desk, desk.order())
    order = desk.certificate_for(key)
    der = load_certificate(order.certificate_pem).public_bytes(Encoding.DER)
    (tmp_path / "odd").write_bytes(of_version_60(der))
    desk.tool("--write-object", str(tmp_path / "odd"), "--type", "cert", "--id", "77")
    desk.person.types(desk.pin)
    wrote = await desk.run(desk.write_job(order))

    assert wrote.outcome is Outcome.DONE, wrote
    assert desk.certificate("77") == of_version_60(der)


async def test_prepare_and_write_and_clean_up_share_one_login(desk):
    (old,) = await written(desk, desk.order("old"))
    visit = {"visit_id": "visit-7", "hold_seconds": 30}
    asked = desk.person.was_asked()
    desk.person.types(desk.pin)
    prepared_keys = (await desk.run(desk.prepare_job(**visit))).keys
    order = desk.certificate_for(prepared_keys[0])
    wrote = await desk.run(desk.write_job(order, **visit, opens_visit=False))
    job = desk.clean_up_job(
        ref_of(old.cka_id, old.certificate_pem), visit_id="visit-7", opens_visit=False
    )
    cleaned = await desk.run(job)

    assert (wrote.outcome, cleaned.outcome) == (Outcome.DONE, Outcome.DONE)
    assert desk.person.was_asked() == asked + 1
    assert all(ids == [order.cka_id] for ids in desk.contents().values())


async def test_a_follow_up_without_a_login_never_asks(desk):
    result = await desk.run(desk.prepare_job(opens_visit=False))
    assert result.outcome is Outcome.VISIT_OVER
    assert desk.person.saw() == ""


async def test_a_login_is_not_lent_to_another_visit(desk):
    desk.person.types(desk.pin)
    await desk.run(desk.prepare_job(visit_id="one", hold_seconds=30))
    follow_up = await desk.run(desk.prepare_job(visit_id="two", opens_visit=False))
    desk.person.types("!cancel")
    own_click = await desk.run(desk.prepare_job(visit_id="three"))

    assert follow_up.outcome is Outcome.VISIT_OVER
    assert own_click.outcome is Outcome.PIN_CANCELLED


async def test_the_login_ends_when_nothing_follows(desk):
    desk.person.types(desk.pin)
    await desk.run(desk.prepare_job(visit_id="one", hold_seconds=1))
    process = desk.visits._running.child.process
    assert await process.wait() == 0

    follow_up = await desk.run(desk.prepare_job(visit_id="one", opens_visit=False))
    assert follow_up.outcome is Outcome.VISIT_OVER


async def test_the_prompt_shows_what_is_agreed_to(desk):
    await prepared(desk, desk.order())
    shown = desk.person.saw()
    for text in ("https://cards.example", "Ann Example", desk.token_serial, "Ann's card"):
        assert text in shown
    assert "4711 oak" in shown
    assert "1 new key made on the card: Title of logon" in shown


async def test_clear_removes_all_that_is_named_and_nothing_of_others(desk):
    ours, foreign = await written(desk, desk.order("ours"), desk.order("foreign"))
    job = ClearJob(desk.card(JobKind.CLEAR), (ref_of(ours.cka_id, ours.certificate_pem),))
    desk.person.types(desk.pin)
    result = await desk.run(job)

    assert result.outcome is Outcome.DONE
    assert all(ids == [foreign.cka_id] for ids in desk.contents().values())
