"""Making the CA by the command that administrators give."""

import subprocess
import sys

import pytest
from cryptography import x509

from cardflow.ca.embedded import open_issuing_key
from cardflow.errors import Refused
from cardflow.secret_files import read_secret
from cardflow.settings import Settings
from cardflow.x509 import load_certificate
from cli.local_secrets import make_local_secrets
from cli.processes import ROOT

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
POLICY = ("--policy-oid", "1.3.6.1.4.1.32473.7")


@pytest.fixture
def settings(tmp_path):
    settings = Settings(state_dir=tmp_path)
    make_local_secrets(settings)
    return settings


def init(settings, *words):
    """Give the command, and return what it says."""
    command = [sys.executable, "-m", "cli", "ca", "init", "--state", settings.state_dir, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr)
    return " ".join((done.stdout + done.stderr).split())


def issuing(settings):
    return load_certificate((settings.ca_dir / "public" / "issuing.pem").read_text())


def policy(settings):
    policies = issuing(settings).extensions.get_extension_for_class(x509.CertificatePolicies)
    return policies.value[0].policy_identifier.dotted_string


def test_it_makes_a_ca_and_says_what_to_take_offline(settings):
    said = init(settings, *POLICY, "--organization", "Example Insurance")

    assert "O=Example Insurance" in said
    assert f"take {settings.ca_dir}/root/key.pem offline" in said
    assert policy(settings) == POLICY[1]


def test_an_organisations_policy_is_its_own(settings):
    with pytest.raises(Refused, match="--policy-oid"):
        init(settings)


def test_what_is_refused_leaves_nothing_and_can_be_tried_again(settings):
    with pytest.raises(Refused, match="policy_oid: 'ours' is no object identifier"):
        init(settings, "--policy-oid", "ours")
    with pytest.raises(Refused, match="larger than 32-bits"):
        init(settings, "--policy-oid", "2.25.340282366920938463463374607431768211455")
    passphrase = settings.ca_passphrase_file.rename(settings.state_dir / "offline")
    with pytest.raises(Refused, match="ca-passphrase is missing"):
        init(settings, *POLICY)
    passphrase.rename(settings.ca_passphrase_file)

    init(settings, *POLICY)

    assert {path.name for path in settings.ca_dir.iterdir()} == {"issuing", "public", "root"}


@pytest.mark.softhsm
def test_the_issuing_key_is_made_on_a_token(settings, tmp_path, monkeypatch):
    (tmp_path / "tokens").mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    pin = read_secret(settings.ca_passphrase_file).decode().strip()
    token = ["--init-token", "--free", "--label", "CA", "--so-pin", "12345678", "--pin", pin]
    subprocess.run(["softhsm2-util", *token], check=True, capture_output=True)

    init(settings, *POLICY, "--token-module", MODULE, "--token-label", "CA")

    assert [path.name for path in (settings.ca_dir / "issuing").iterdir()] == ["token.toml"]
    key = open_issuing_key(settings.ca_dir, settings.ca_passphrase_file)
    assert key.public_key() == issuing(settings).public_key()
