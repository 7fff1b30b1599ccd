"""How long a policy's dry run takes over ten thousand cards, and what it needs of memory.

The yardstick is reading the same cards one by one, as the page of a single card does.
"""

import asyncio
import json
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import insert

from api.planning import case_of
from api.policy_trial import PART, try_on_cards
from api.state import State, opened
from benchmarks.table import Row, is_quick, quantile, show
from cardflow.db.migrate import upgrade_database
from cardflow.db.tables import Card, Certificate, Person, PolicyVersion
from cardflow.decisions import utc_now
from cardflow.jobs import FoundCertificate, Inventory
from cardflow.model import new_id
from cardflow.policy_toml import stored_policy
from cardflow.settings import Settings
from cardflow.sql import create_engine, transaction
from cardflow.wire import to_json
from cardflow.x509 import facts_of_certificate
from cli.local_secrets import make_local_secrets

CARDS = 10_000
ONE_BY_ONE = 200
PROFILES = ("smart-card-logon", "smime-signing", "document-signing")
POLICY = (Path(__file__).parents[1] / "policies" / "rf.toml").read_text("utf-8")


async def main() -> None:
    """Print the rows."""
    number = 2 * ONE_BY_ONE if is_quick() else CARDS
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(state_dir=Path(directory))
        make_local_secrets(settings)
        engine = create_engine(settings.database_url)
        await upgrade_database(engine)
        await engine.dispose()
        async with opened(settings) as state:
            await _fill(state, number)
            show("policy", await _measure(state, number))


async def _measure(state: State, number: int) -> list[Row]:
    policy = stored_policy(POLICY, 2)
    lags: list[float] = []
    watching = asyncio.create_task(_watch(lags))
    before = time.perf_counter()
    last = [line async for line in try_on_cards(state, policy, "following")][-1]
    seconds = time.perf_counter() - before
    watching.cancel()
    assert last.result is not None
    assert last.result.cards == number
    tracemalloc.start()
    async for _ in try_on_cards(state, policy, "following"):
        pass
    peak = tracemalloc.get_traced_memory()[1] / 1024**2
    tracemalloc.stop()
    single = await _one_by_one(state)
    return [
        Row("dry run, cards per second", number / seconds, "1/s", "one by one", single),
        Row(f"dry run of {number:,} cards", seconds, "s"),
        Row("what others wait meanwhile, 99 of 100", quantile(lags, 0.99) * 1000, "ms"),
        Row(f"memory at its peak, {PART} cards at a time", peak, "MiB"),
    ]


async def _watch(lags: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append(time.perf_counter() - before - 0.005)


async def _one_by_one(state: State) -> float:
    async with transaction(state.reads) as session:
        cards = [await session.get_one(Card, f"card-{n}") for n in range(ONE_BY_ONE)]
        before = time.perf_counter()
        for card in cards:
            await case_of(session, card)
        return ONE_BY_ONE / (time.perf_counter() - before)


async def _fill(state: State, number: int) -> None:
    pems = [_certificate(n) for n in range(len(PROFILES))]
    person = Person(id=new_id(), login="holly", name="Holly", created_at=utc_now())
    async with transaction(state.sessions) as session:
        session.add(person)
        session.add(PolicyVersion(name="rf", version=1, document=POLICY, created_at=utc_now()))
        await session.flush()
        cards = [_card(n, person.id, pems) for n in range(number)]
        await session.execute(insert(Card), cards)
        await session.execute(insert(Certificate), [*_known(pems)])


def _certificate(number: int) -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), utc_now()
    name = x509.Name.from_rfc4514_string(f"CN=Card holder {number},O=Example")
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=300))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _card(number: int, holder_id: str, pems: Sequence[str]) -> dict[str, Any]:
    found = tuple(FoundCertificate("aa", "", pem, True) for pem in pems)
    return {
        "id": f"card-{number}", "token_serial": f"{number:016x}", "token_label": "",
        "manufacturer": "", "model": "", "holder_id": holder_id, "policy_name": "rf",
        "state": "Issued", "update_due": "", "created_at": utc_now(),
        "inventory": json.dumps(to_json(Inventory(certificates=found))),
    }  # fmt: skip


def _known(pems: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what the register knows of the first card: a digest can stand there once only."""
    for profile, pem in zip(PROFILES, pems, strict=True):
        facts = facts_of_certificate(pem)
        yield {
            "sha256": facts.sha256, "card_id": "card-0", "kind": "managed", "state": "on_card",
            "profile": profile, "key_type": facts.key_type, "update_id": "", "lane": "",
            "cka_id": "aa", "spki_sha256": facts.spki_sha256,
            "serial_number": facts.serial_number, "subject": facts.subject,
            "issuer": facts.issuer, "not_before": facts.not_before, "not_after": facts.not_after,
            "pem": pem, "created_at": utc_now(),
        }  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
