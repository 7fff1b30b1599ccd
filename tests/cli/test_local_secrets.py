"""The demo's secrets: complete, private, marked, and good for this machine only."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.verification import PolicyBuilder, Store

from cardflow.decisions import issue_signer
from cardflow.environment import Environment
from cardflow.errors import Refused
from cardflow.key_ring import KeyRing
from cardflow.secret_files import DEMO_MARKER, read_secret
from cardflow.settings import Settings
from cardflow.startup import objections, secret_files
from cli.local_secrets import Maker, make_local_secrets, make_own_secrets


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    make_local_secrets(settings)
    return settings


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(settings: Settings) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in settings.codec_key_file.parent.iterdir()}


def test_every_secret_is_there_and_only_its_owner_reads_it(settings: Settings) -> None:
    assert objections(settings) == []
    assert len(secret_files(settings)) == 7
    for path in secret_files(settings):
        assert read_secret(path)
    assert settings.codec_key_file.parent.stat().st_mode & 0o777 == 0o700


def test_the_key_rings_are_all_different(settings: Settings) -> None:
    files = (settings.codec_key_file, settings.sealing_key_file, settings.qr_key_file)

    assert len({KeyRing.load(file).key("1") for file in files}) == 3


def test_a_second_run_changes_nothing(settings: Settings) -> None:
    before = contents(settings)

    make_local_secrets(settings)

    assert contents(settings) == before


def test_production_refuses_all_of_them(settings: Settings) -> None:
    production = settings.model_copy(
        update={"environment": Environment.PRODUCTION, "public_url": "https://cards.example"}
    )

    refused = [line for line in objections(production) if "made for trying out" in line]
    assert len(refused) == 10


def test_production_is_not_given_demo_secrets(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"run: python -m cli\.secrets"):
        make_local_secrets(Settings(state_dir=tmp_path, environment="production"))


@pytest.mark.parametrize(
    "name", [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
)
def test_the_door_is_vouched_for_by_the_local_root(
    settings: Settings, name: x509.DNSName | x509.IPAddress
) -> None:
    root = certificate(settings.door_root_file)
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(name)

    assert len(verifier.verify(certificate(settings.door_certificate_file), [])) == 2


def test_the_local_root_vouches_for_this_machine_only(settings: Settings) -> None:
    root = certificate(settings.door_root_file)

    names = root.extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert names.value.permitted_subtrees is not None


def test_the_decision_key_is_signed_by_the_decision_root(settings: Settings) -> None:
    root = load_pem_public_key(settings.decision_root_file.read_bytes())
    signer = certificate(settings.decision_certificate_file)

    assert isinstance(root, Ed25519PublicKey)
    root.verify(signer.signature, signer.tbs_certificate_bytes)


def test_certificates_near_their_end_are_made_anew(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    make_local_secrets(settings)
    root_file = settings.decision_key_file.with_name("decision-root-key.pem")
    root = load_pem_private_key(root_file.read_bytes(), None)
    assert isinstance(root, Ed25519PrivateKey)
    ending = issue_signer(root, now=datetime.now(UTC), days=10).certificate
    settings.decision_certificate_file.write_bytes(ending.public_bytes(Encoding.PEM))

    make_local_secrets(settings)

    renewed = certificate(settings.decision_certificate_file)
    assert renewed.not_valid_after_utc > datetime.now(UTC) + timedelta(days=300)
    assert renewed.public_key() != ending.public_key()


def test_an_installation_makes_its_own_secrets_without_the_mark(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)

    make_own_secrets(settings, Maker(marked=False))

    assert KeyRing.load(settings.codec_key_file)
    assert [file.name for file in tmp_path.rglob(DEMO_MARKER)] == []
    assert not settings.door_key_file.exists()


def test_the_decision_root_can_be_away_until_it_is_needed(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    make_own_secrets(settings, Maker(marked=False))
    settings.decision_key_file.with_name("decision-root-key.pem").unlink()

    make_own_secrets(settings, Maker(marked=False))

    settings.decision_certificate_file.unlink()
    with pytest.raises(Refused, match="bring it back"):
        make_own_secrets(settings, Maker(marked=False))
