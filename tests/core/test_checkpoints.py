"""Checkpoints: signed for what they are, kept outside once, and refused when they are not ours."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardflow import checkpoint_files, decisions
from cardflow.checkpoints import Checkpoint, Finding, read, read_all, sign
from cardflow.decisions import issue_signer, root_hex
from cardflow.errors import Refused
from cardflow.model import Act, Role
from tests import build

NOW = datetime.now(UTC)
ROOT = root_hex(build.root().public_key())
SIGNER = build.signer()
CHECKPOINT = Checkpoint(40, "ab" * 32, NOW, 7, "0" * 64, "cd" * 32)


def test_a_checkpoint_says_what_was_signed():
    signed = sign(CHECKPOINT, SIGNER)

    assert read(signed.token, ROOT) == signed
    assert (signed.since, replace(signed, token="")) == (33, CHECKPOINT)


def test_a_checkpoint_is_no_action_and_an_action_is_no_checkpoint():
    update = build.an_update(build.a_policy(build.an_entry("logon")), opened_at=NOW)
    action = SIGNER.sign(build.an_action(update, Act.CANCEL, build.OPERATOR, Role.OPERATOR))

    with pytest.raises(Refused, match="not a signed action"):
        decisions.read(sign(CHECKPOINT, SIGNER).token, ROOT)
    with pytest.raises(Refused, match="not a signed checkpoint"):
        read(action, ROOT)


def test_a_checkpoint_from_before_its_key_was_valid_is_refused():
    early = sign(replace(CHECKPOINT, at=NOW - timedelta(days=2)), SIGNER)

    with pytest.raises(Refused, match="was not valid"):
        read(early.token, ROOT)


def test_what_does_not_count_is_named_with_its_entry():
    stranger = issue_signer(Ed25519PrivateKey.generate(), now=NOW)
    tokens = [sign(CHECKPOINT, SIGNER).token, sign(CHECKPOINT, stranger).token, "nonsense", "a.b.c"]

    good, bad = read_all([*tokens, tokens[0]], ROOT)

    assert [checkpoint.number for checkpoint in good] == [40]
    assert [finding.number for finding in bad] == [40, 0, 0]
    assert "does not belong to this organisation" in bad[0].reason
    assert all(isinstance(finding, Finding) for finding in bad)


def test_checkpoints_are_exported_once_and_never_changed(tmp_path):
    first, second = sign(CHECKPOINT, SIGNER), sign(replace(CHECKPOINT, number=41), SIGNER)
    assert checkpoint_files.exported_to(tmp_path) == 0

    checkpoint_files.export(tmp_path, [first])
    checkpoint_files.export(tmp_path, [replace(first, token="another"), second])

    assert checkpoint_files.exported_to(tmp_path) == 41
    assert checkpoint_files.read_tokens(tmp_path) == [first.token, second.token]
    (file, _) = sorted(tmp_path.rglob("*.jws"))
    assert file.relative_to(tmp_path).as_posix() == f"{NOW:%Y-%m}/000000000040.jws"
    assert file.stat().st_mode & 0o222 == 0
    assert checkpoint_files.read_tokens(file) == [first.token]
    assert len(list(file.parent.iterdir())) == 2


def test_a_place_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(Refused, match="neither a file nor a directory"):
        checkpoint_files.read_tokens(tmp_path / "nowhere")
