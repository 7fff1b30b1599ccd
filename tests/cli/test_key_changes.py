"""Keys that sign are changed by a command; what the old ones signed, and pinned, stays good."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.keys import load_keys
from cardflow import decisions
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.job_keys import followed, raw_hex
from cardflow.model import Act, Role
from cardflow.secret_files import write_secret
from cardflow.settings import Settings
from cli import secrets
from cli.key_changes import change_decision_key, change_job_key
from cli.local_secrets import Maker, make_local_secrets, pem_of
from tests import build

NOW = datetime.now(UTC)
UPDATE = build.an_update(build.a_policy(), opened_at=NOW)
ACTION = build.an_action(UPDATE, Act.CANCEL, build.HOLDER, Role.HOLDER)


@pytest.fixture
def settings(tmp_path):
    settings = Settings(state_dir=tmp_path)
    make_local_secrets(settings)
    return settings


def test_agents_that_pinned_any_older_job_key_are_led_to_the_newest(settings):
    pinned = []
    for _ in range(3):
        pinned.append(raw_hex(load_keys(settings).job_key))
        change_job_key(settings)

    keys = load_keys(settings)
    newest = raw_hex(keys.job_key)
    assert len({newest, *pinned}) == 4
    for old in pinned:
        assert followed(old, keys.job_keys.successions, settings.door_url) == newest
    assert settings.job_key_file.stat().st_mode & 0o777 == 0o600


def test_a_process_that_runs_takes_up_the_new_key_and_its_history(settings):
    keys = load_keys(settings)
    old = raw_hex(keys.job_key)

    change_job_key(settings)

    assert raw_hex(keys.job_key) == raw_hex(load_keys(settings).job_key) != old
    assert [one.old for one in keys.job_keys.successions] == [old]


def test_a_process_that_runs_goes_on_while_the_new_key_cannot_be_read(settings, caplog):
    keys = load_keys(settings)
    old = raw_hex(keys.job_key)
    change_job_key(settings)
    settings.job_key_file.chmod(0o644)

    assert raw_hex(keys.job_key) == old
    assert "going on with the key read before" in caplog.text
    settings.job_key_file.chmod(0o600)
    assert raw_hex(keys.job_key) != old


def test_a_change_of_the_job_key_that_was_broken_off_goes_on_where_it_was(settings):
    before = settings.job_key_file.read_bytes()
    change_job_key(settings)
    coming = settings.job_key_file.with_name("job-key-next.pem")
    settings.job_key_file.rename(coming)  # as if its last step had not been
    write_secret(settings.job_key_file, before)

    change_job_key(settings)

    keys = load_keys(settings)
    assert len(keys.job_keys.successions) == 1
    assert keys.job_keys.successions[0].new == raw_hex(keys.job_key)


def test_a_history_of_job_keys_that_cannot_be_read_is_refused_by_name(settings):
    settings.job_key_history_file.write_text("{}x")
    for use in (lambda: load_keys(settings), lambda: change_job_key(settings)):
        with pytest.raises(Refused, match=r"job-key-history\.json holds no successions"):
            use()


def test_decisions_of_the_old_and_the_new_key_count_under_one_root(settings):
    old = load_keys(settings)
    change_decision_key(settings, Maker(marked=True))
    new = load_keys(settings)

    assert new.signer.certificate != old.signer.certificate
    action = replace(ACTION, at=utc_now())
    for keys in (old, new):
        assert decisions.read(keys.signer.sign(action), old.decision_root) == action


def test_without_the_roots_key_no_decision_key_is_made_and_the_old_one_stays(settings):
    root = settings.decision_key_file.with_name("decision-root-key.pem")
    before = settings.decision_key_file.read_bytes()
    root.unlink()
    with pytest.raises(Refused, match="bring it back"):
        change_decision_key(settings, Maker(marked=True))

    write_secret(root, pem_of(Ed25519PrivateKey.generate()))
    with pytest.raises(Refused, match="is not the key of"):
        change_decision_key(settings, Maker(marked=True))
    assert settings.decision_key_file.read_bytes() == before


def test_the_commands_change_keys_and_say_what_is_to_be_done(settings, monkeypatch, capsys):
    monkeypatch.setenv("CARDFLOW_STATE_DIR", str(settings.state_dir))
    assert secrets.main(["change-job"]) == 0
    assert secrets.main(["change-decision"]) == 0

    said = capsys.readouterr().err
    assert " ".join(said.split()).count("start every API process anew") == 1
    assert "nothing needs to be started anew" in " ".join(said.split())
    assert len(json.loads(settings.job_key_history_file.read_text())["successions"]) == 1
    certificate = x509.load_pem_x509_certificate(settings.decision_certificate_file.read_bytes())
    assert certificate.not_valid_before_utc > NOW.replace(year=NOW.year - 1)

    settings.decision_key_file.with_name("decision-root-key.pem").unlink()
    assert secrets.main(["change-decision"]) == 1
    assert "bring it back" in capsys.readouterr().err
