"""Making a CA: two tiers, keys apart, refused when anything is odd."""

import shutil
from datetime import timedelta

import pytest
from cryptography import x509

from cardflow.ca import RevocationReason
from cardflow.ca.embedded import (
    CaNames,
    EmbeddedCA,
    Secrets,
    init_ca,
    open_issuing_key,
    renew_root_crl,
)
from cardflow.errors import Refused
from cardflow.secret_files import write_secret
from cardflow.x509 import load_certificate
from tests.ca.making import PROFILES, PUBLIC_URL, Home, a_request, issue, now


def certificates(home: Home) -> tuple[x509.Certificate, x509.Certificate]:
    """Return the root's and the issuing CA's certificate."""
    public = home.directory / "public"
    root, issuing = (
        load_certificate((public / f"{n}.pem").read_text()) for n in ("root", "issuing")
    )
    return root, issuing


def test_the_root_stands_above_one_issuing_ca(made):
    root, issuing = certificates(made)
    issuing.verify_directly_issued_by(root)
    lengths = [
        c.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        for c in (root, issuing)
    ]
    assert lengths == [1, 0]
    assert root.public_key().curve.name == issuing.public_key().curve.name == "secp384r1"


def test_keys_are_encrypted_and_closed_to_other_accounts(made):
    for name in ("root", "issuing"):
        path = made.directory / name / "key.pem"
        assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        assert path.stat().st_mode & 0o077 == 0


async def test_the_worker_needs_no_root_key_and_the_desk_no_issuing_key(home, engine):
    shutil.rmtree(home.directory / "root")
    ca = home.ca(engine)
    await ca.maintain()
    await issue(ca)
    ca.close()
    shutil.rmtree(home.directory / "issuing")
    desk = home.ca(engine, signs=False)
    assert await desk.health() == []
    assert await desk.crl_der()
    desk.close()


def test_a_second_ca_in_one_directory_is_refused(made):
    with pytest.raises(Refused, match="there is a CA"):
        init_ca(made.directory, names=CaNames("X"), public_url=PUBLIC_URL, secrets=made.secrets)


def test_what_is_no_ca_is_not_built_upon(home):
    (home.directory / "public" / "issuing.pem").unlink()
    with pytest.raises(Refused, match="is not empty, and holds no CA"):
        init_ca(home.directory, names=CaNames("X"), public_url=PUBLIC_URL, secrets=home.secrets)


@pytest.mark.parametrize(
    ("names", "url", "objection"),
    [
        (CaNames(""), PUBLIC_URL, "organization: between 1 and 64"),
        (CaNames("X", issuing="x" * 65), PUBLIC_URL, "issuing: between 1 and 64"),
        (CaNames("X"), "ftp://pki.example.test", "http or https"),
        (CaNames("X"), "http://intranet", "full domain name"),
        (CaNames("X"), "http://pki.example.test/cards", "nothing may follow"),
    ],
)
def test_what_cannot_stand_in_a_certificate_is_refused(tmp_path, names, url, objection):
    secrets = Secrets(tmp_path / "a", tmp_path / "b")
    with pytest.raises(Refused, match=objection):
        init_ca(tmp_path / "ca", names=names, public_url=url, secrets=secrets)
    assert not (tmp_path / "ca").exists()


def test_a_short_passphrase_is_refused(tmp_path):
    write_secret(tmp_path / "short", b"x" * 31 + b"\n")
    secrets = Secrets(tmp_path / "short", tmp_path / "short")
    with pytest.raises(Refused, match="at least 32 characters; make one"):
        init_ca(tmp_path / "ca", names=CaNames("X"), public_url=PUBLIC_URL, secrets=secrets)


def test_the_wrong_passphrase_opens_nothing_and_is_not_repeated(made, tmp_path):
    write_secret(tmp_path / "wrong", b"another passphrase")
    with pytest.raises(Refused, match="does not open") as caught:
        open_issuing_key(made.directory, tmp_path / "wrong")
    assert "another passphrase" not in str(caught.value)


async def test_without_a_ca_the_remedy_is_named(tmp_path, engine):
    with pytest.raises(Refused, match="cardflow ca init"):
        EmbeddedCA(engine, tmp_path, PROFILES, public_url=PUBLIC_URL)


async def test_the_policy_of_the_issuing_ca_is_every_certificates_policy(tmp_path, databases):
    databases.furnish(tmp_path, migrated=False)
    home = Home(tmp_path).make(policy_oid="1.3.6.1.4.1.32473.7")
    engine = await home.engine()
    ca = home.ca(engine)
    certificate = load_certificate(await issue(ca, a_request()))
    policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert [p.policy_identifier.dotted_string for p in policies] == ["1.3.6.1.4.1.32473.7"]
    ca.close()
    await engine.dispose()


# The root's CRL


def root_crl(home: Home) -> x509.CertificateRevocationList:
    """Return the root's CRL."""
    return x509.load_der_x509_crl((home.directory / "public" / "root.crl").read_bytes())


def renew(home: Home, **options) -> None:
    """Renew the root's CRL with the key from where it is kept."""
    renew_root_crl(
        home.directory,
        root_key_file=home.directory / "root" / "key.pem",
        root_secret_file=home.secrets.root,
        **options,
    )


def test_the_roots_crl_is_renewed_with_the_next_number(home):
    renew(home)
    crl = root_crl(home)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2
    assert crl.is_signature_valid(certificates(home)[0].public_key())


def test_a_revoked_issuing_ca_stays_on_the_roots_crl(home):
    renew(home, revoke_issuing=RevocationReason.KEY_COMPROMISE)
    renew(home, revoke_issuing=RevocationReason.SUPERSEDED)
    (entry,) = root_crl(home)
    assert entry.serial_number == certificates(home)[1].serial_number
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise


def test_another_roots_key_is_refused(home):
    with pytest.raises(Refused, match="not the key of this root"):
        renew_root_crl(
            home.directory,
            root_key_file=home.directory / "issuing" / "key.pem",
            root_secret_file=home.secrets.issuing,
        )


async def test_health_asks_for_the_root_in_time(home, engine, ca):
    renew(home, now=now() - timedelta(days=341))
    (found,) = await ca.health()
    assert "bring the root's key" in found
