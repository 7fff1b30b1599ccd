"""Programs that are not ours judge what the CA makes: pkilint, OpenSSL, GnuTLS."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cardflow.ca import RevocationReason
from cardflow.ca.embedded import EmbeddedCA
from cardflow.x509 import facts_of_certificate
from tests.ca.making import PROFILES, Home, a_csr, a_key, a_request, issue
from tests.databases import Databases

pytestmark = pytest.mark.openssl

KINDS = ("P-256", "RSA-2048")
LEAVES = [f"{profile}-{kind}" for profile in PROFILES for kind in KINDS]
REVOKED = "revoked"
PURPOSES = {
    "smart-card-logon": "sslclient",
    "tls-client": "sslclient",
    "smime-signing": "smimesign",
    "document-signing": "any",
}


@dataclass(frozen=True)
class Issued:
    """A directory with all that a CA issues, and the CA itself without its key."""

    path: Path
    desk: EmbeddedCA

    def __getitem__(self, name: str) -> str:
        return str(self.path / name)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Return what a program said and how it ended."""
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


async def say(*command: str | Path) -> str:
    """Return what a program said, which must have ended well; the event loop goes on meanwhile."""
    done = await asyncio.to_thread(run, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
async def issued(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> AsyncIterator[Issued]:
    """Yield one certificate of each profile and kind of key, a revoked one, and both CRLs."""
    path = tmp_path_factory.mktemp("issued")
    databases.furnish(path / "home", migrated=False)
    async with a_working_ca(Home(path / "home").make()) as (ca, desk):
        for leaf in LEAVES:
            kind = next(kind for kind in KINDS if leaf.endswith(kind))
            profile = leaf.removesuffix(f"-{kind}")
            pem = await issue(ca, a_request(profile, csr_pem=a_csr(a_key(kind))))
            (path / f"{leaf}.pem").write_text(pem)
        pem = await issue(ca)
        (path / f"{REVOKED}.pem").write_text(pem)
        serial_number = facts_of_certificate(pem).serial_number
        await ca.revoke(serial_number, RevocationReason.KEY_COMPROMISE)
        await publish(ca, path)
        yield Issued(path, desk)


@asynccontextmanager
async def a_working_ca(home: Home) -> AsyncIterator[tuple[EmbeddedCA, EmbeddedCA]]:
    """Yield a CA as the worker opens it and as the API opens it."""
    engine = await home.engine()
    ca, desk = home.ca(engine), home.ca(engine, signs=False)
    await ca.maintain()
    yield ca, desk
    ca.close()
    desk.close()
    await engine.dispose()


async def publish(ca: EmbeddedCA, path: Path) -> None:
    """Leave the CA certificates and CRLs as files, the CRLs in DER, PEM and in one bundle."""
    for name, pem in zip(("issuing", "root"), await ca.ca_certificates(), strict=True):
        (path / f"{name}.pem").write_text(pem)
    for name, der in (("crl", await ca.crl_der()), ("root-crl", ca.root_crl_der())):
        (path / f"{name}.der").write_bytes(der)
        await say("openssl", "crl", "-inform", "DER", "-in", path / f"{name}.der",
                  "-out", path / f"{name}.pem")  # fmt: skip
    both = [(path / f"{name}.pem").read_text() for name in ("crl", "root-crl")]
    (path / "crls.pem").write_text("".join(both))


def verify(issued: Issued, leaf: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Return what OpenSSL says of a certificate, as strict as it can be."""
    return run("openssl", "verify", "-x509_strict", "-check_ss_sig", "-policy_check",
               "-crl_check_all", "-CRLfile", issued["crls.pem"], "-CAfile", issued["root.pem"],
               "-untrusted", issued["issuing.pem"], *options, issued[f"{leaf}.pem"])  # fmt: skip


# pkilint


def lint(program: str, *arguments: str) -> None:
    """Pass when pkilint finds nothing from a warning upwards; its exit code counts findings."""
    done = run(Path(sys.executable).with_name(program), "lint", "-s", "WARNING", *arguments)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["root", "issuing", *LEAVES])
def test_pkilint_finds_nothing_in_a_certificate(issued, name):
    lint("lint_pkix_cert", issued[f"{name}.pem"])


@pytest.mark.parametrize("name", [leaf for leaf in LEAVES if leaf.endswith("P-256")])
def test_pkilint_finds_nothing_between_issuer_and_certificate(issued, name):
    lint("lint_pkix_signer_signee_cert_chain", issued["issuing.pem"], issued[f"{name}.pem"])


@pytest.mark.parametrize(("name", "kind"), [("crl", "CRL"), ("root-crl", "ARL")])
def test_pkilint_finds_nothing_in_a_crl(issued, name, kind):
    lint("lint_crl", "-t", kind, "-p", "PKIX", issued[f"{name}.pem"])


@pytest.mark.parametrize("name", ["tls-client-P-256", REVOKED])
async def test_pkilint_finds_nothing_in_an_ocsp_reply(issued, name):
    await answered(issued, name)
    lint("lint_ocsp_response", issued[f"{name}.response"])


async def test_pkilint_finds_nothing_in_the_ocsp_signers_certificate(issued):
    signer = issued.path / "home" / "ca" / "responder" / "ocsp.pem"
    await say("openssl", "x509", "-in", signer, "-out", issued["signer.pem"])
    lint("lint_pkix_cert", issued["signer.pem"])
    lint("lint_pkix_signer_signee_cert_chain", issued["issuing.pem"], issued["signer.pem"])


# OpenSSL


@pytest.mark.parametrize("name", ["issuing", *LEAVES])
def test_openssl_accepts_a_certificate(issued, name):
    done = verify(issued, name)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("profile", "purpose"), PURPOSES.items())
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_accepts_a_certificate_for_its_purpose(issued, profile, purpose, kind):
    done = verify(issued, f"{profile}-{kind}", "-purpose", purpose)
    assert done.returncode == 0, done.stderr


def test_openssl_refuses_a_certificate_for_another_purpose(issued):
    assert verify(issued, "smime-signing-P-256", "-purpose", "sslclient").returncode != 0


def test_openssl_refuses_a_revoked_certificate(issued):
    done = verify(issued, REVOKED)
    assert done.returncode != 0
    assert "certificate revoked" in done.stderr


async def answered(issued: Issued, name: str) -> str:
    """Return what OpenSSL makes of our reply to a request that it wrote."""
    request, response = issued[f"{name}.request"], issued[f"{name}.response"]
    await say("openssl", "ocsp", "-issuer", issued["issuing.pem"], "-cert", issued[f"{name}.pem"],
              "-reqout", request)  # fmt: skip
    reply = await issued.desk.ocsp_response(Path(request).read_bytes())
    Path(response).write_bytes(reply)
    same_nonce = await to_openssl(issued, "-reqin", request, "-respin", response)
    assert "Response verify OK" in same_nonce.stderr
    assert same_nonce.returncode == 0, same_nonce.stderr
    # With -cert OpenSSL would add a nonce to the request, one that we never saw.
    status = await to_openssl(issued, "-respin", response, "-no_nonce",
                              "-issuer", issued["issuing.pem"],
                              "-cert", issued[f"{name}.pem"])  # fmt: skip
    return status.stdout + status.stderr


async def to_openssl(issued: Issued, *words: str) -> subprocess.CompletedProcess[str]:
    """Return what OpenSSL says of an OCSP reply."""
    trust = ("-CAfile", issued["root.pem"], "-verify_other", issued["issuing.pem"])
    return await asyncio.to_thread(run, "openssl", "ocsp", *words, *trust)


@pytest.mark.parametrize("name", LEAVES)
async def test_openssl_reads_from_our_reply_that_a_certificate_is_good(issued, name):
    said = await answered(issued, name)
    assert "Response verify OK" in said
    assert f"{name}.pem: good" in said


async def test_openssl_reads_from_our_reply_that_a_certificate_is_revoked(issued):
    said = await answered(issued, REVOKED)
    assert "Response verify OK" in said
    assert f"{REVOKED}.pem: revoked" in said
    assert "Reason: keyCompromise" in said


async def test_openssl_refuses_a_reply_to_another_request(issued):
    for name in LEAVES[:2]:
        await answered(issued, name)
    request, response = issued[f"{LEAVES[0]}.request"], issued[f"{LEAVES[1]}.response"]
    done = await to_openssl(issued, "-reqin", request, "-respin", response)
    assert done.returncode != 0
    assert "Nonce Verify error" in done.stderr


# GnuTLS


@pytest.mark.parametrize("name", LEAVES)
async def test_gnutls_accepts_a_certificate(issued, name):
    chain = issued.path / f"{name}.chain"
    parts = [(issued.path / f"{part}.pem").read_text() for part in (name, "issuing")]
    chain.write_text("".join(parts))
    level = "high" if name.endswith("P-256") else "medium"  # "high" begins at RSA-3072
    said = await say("certtool", "--verify", "--verify-profile", level, "--load-ca-certificate",
                     issued["root.pem"], "--infile", chain)  # fmt: skip
    assert "Verified. The certificate is trusted." in said
