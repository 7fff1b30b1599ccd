"""The same card work on tpm2-pkcs11: an independent module that refuses as hardware does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cardflow.jobs import Outcome
from cardflow.model import KeyType
from tests.agent.desk import Desk, Person, ref_of
from tests.agent.tpm import Tpm2Reader, is_here

pytestmark = [pytest.mark.tpm2, pytest.mark.xdist_group("tpm2")]
PIN = "246810"


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A workstation whose card is a TPM."""
    if not is_here():
        pytest.skip("swtpm, tpm2-abrmd or tpm2-pkcs11 is not installed")
    reader = Tpm2Reader(tmp_path / "reader")
    reader.start()
    try:
        serial = reader.new_card("Ann's card", PIN)
        for name, value in reader.environment.items():
            monkeypatch.setenv(name, value)
        desk = Desk(tmp_path, reader, Person(tmp_path / "person"), PIN, serial)
        yield desk
        await desk.visits.close()
    finally:
        reader.stop()


async def updated(desk: Desk, key_type: KeyType) -> tuple:
    """Return the order's certificate after prepare and write, each done twice."""
    order = desk.order(key_type=key_type)
    desk.person.types(PIN)
    first = await desk.run(desk.prepare_job(order))
    assert first.outcome is Outcome.DONE, first
    desk.person.types(PIN)
    again = await desk.run(desk.prepare_job(order))
    assert [key.csr_pem for key in again.keys] == [key.csr_pem for key in first.keys]
    assert again.keys[0].reused

    certificate = desk.certificate_for(first.keys[0])
    for _ in range(2):
        desk.person.types(PIN)
        written = await desk.run(desk.write_job(certificate))
        assert written.outcome is Outcome.DONE, written
        assert written.proofs[0].certificate_pem == certificate.certificate_pem
    return order, certificate


@pytest.mark.parametrize("key_type", [KeyType.P_256, KeyType.RSA_2048])
async def test_an_update_writes_and_retires_and_may_be_repeated(
    desk: Desk, key_type: KeyType
) -> None:
    order, certificate = await updated(desk, key_type)
    assert desk.contents()["Certificate"] == [order.cka_id]

    ref = ref_of(order.cka_id, certificate.certificate_pem)
    for _ in range(2):
        desk.person.types(PIN)
        cleaned = await desk.run(desk.clean_up_job(ref))
        assert (cleaned.outcome, cleaned.removed) == (Outcome.DONE, (ref,))
    assert desk.contents() == {"Certificate": [], "Private Key": [], "Public Key": []}


async def test_wrong_pins_are_named_until_the_tpm_locks_and_the_old_pair_stays(desk: Desk) -> None:
    order, _ = await updated(desk, KeyType.P_256)
    before = desk.certificate(order.cka_id)

    outcomes = []
    for _ in range(4):
        desk.person.types("000000")
        outcomes.append((await desk.run(desk.prepare_job(desk.order("other")))).outcome)

    assert outcomes[0] is Outcome.PIN_INCORRECT
    assert set(outcomes) <= {Outcome.PIN_INCORRECT, Outcome.PIN_LOCKED}
    assert outcomes[-1] is Outcome.PIN_LOCKED
    assert desk.certificate(order.cka_id) == before


async def test_another_card_is_named(desk: Desk) -> None:
    desk.person.types(PIN)
    result = await desk.run(desk.prepare_job(token_serial="ffff"))
    assert result.outcome is Outcome.WRONG_CARD
