"""The evidence of a real update verifies offline, and whatever is changed in it is named."""

import io
import json
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardflow.ca.embedded.keys import Layout
from cardflow.chain import link_hash
from cardflow.decisions import Signer, issue_signer, peek, root_hex, utc_now
from cardflow.errors import Refused
from cardflow.evidence.archive import UNLISTED, Archive
from cardflow.evidence.checks import verify
from cardflow.evidence.contents import Contents
from cardflow.evidence.packing import README
from cardflow.evidence.roots import Roots, load_roots
from cardflow.model import Role
from cardflow.x509 import load_certificate
from cli.__main__ import main
from tests.api.conftest import reasons
from tests.api.updates.conftest import API
from tests.api.updates.test_updates_story import until_listed
from tests.ca.making import Home
from tests.waiting import until

pytestmark = pytest.mark.temporal
LANE = "smart-card-logon"


@dataclass
class Evidence:
    """The pack of a whole update, and of another one on the same card."""

    pack: bytes
    again: bytes
    other: bytes
    signer: Signer
    roots: Path
    addresses: list[str]

    @property
    def trusted(self):
        return load_roots(self.roots)


made: list[Evidence] = []  # the updates are run once for all tests of this module


@pytest.fixture
def evidence(request):
    if not made:
        made.append(request.getfixturevalue("exported"))
    return made[0]


@pytest.fixture
async def exported(office, let_in, tmp_path_factory):
    auditor, officer = await let_in("adam", Role.AUDITOR), await let_in("otto", Role.OFFICER)
    await office.policy(f"{LANE} RF precheck=true")
    update_id = await a_whole_update(office, officer)
    pack, again = [await fetched(auditor, update_id) for _ in range(2)]
    await office.policy("tls-client none")
    other = await office.opened()
    await office.until_stage(other, "completed")
    return Evidence(
        pack=pack,
        again=again,
        other=await fetched(auditor, other),
        signer=office.state.keys.signer,
        roots=roots_of(office.state.settings, tmp_path_factory.mktemp("roots")),
        addresses=[f"{name}-{let_in.test}@example.org" for name in ("olga", "otto")],
    )


async def a_whole_update(office, officer):
    """Return the id of a completed RF update whose first request form was sent back."""
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, LANE)
    await office.decide(update_id, "reject", reason="The signature is missing.")
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, LANE)
    await office.decide(update_id, "approve")
    await office.until_lane(update_id, "at_ca")
    request = await until_listed(officer, update_id, "ca/requests")
    body = {"verdict": "approve", "digest": request["decision_digest"]}
    await officer.post(f"{API}/ca/requests/{request['id']}/decisions", json=body)
    await office.until_lane(update_id, "awaiting_certificate_form")
    await office.sign(update_id, LANE)
    await office.decide(update_id, "approve")
    await office.until_stage(update_id, "ready")
    await office.act(update_id, "continue")
    await office.until_stage(update_id, "completed")
    await until_all_mail_is_sent(office, update_id)
    return update_id


async def until_all_mail_is_sent(office, update_id):
    """Operators for whom much waits, from other tests, are told in a digest instead."""

    async def states():
        mails = (await office.operator.get(f"{API}/updates/{update_id}/mails")).json()["items"]
        return {mail["state"] for mail in mails}

    await until(states, lambda seen: "sent" in seen and seen <= {"sent", "folded"}, what="mails")


async def fetched(who, update_id):
    answer = await who.get(f"{API}/updates/{update_id}/evidence")
    assert answer.status_code == 200, answer.text
    return answer.content


def roots_of(settings, directory):
    shutil.copy(settings.decision_root_file, directory / "decision-root.pem")
    shutil.copy(Layout(settings.ca_dir).root_certificate, directory / "ca-root.pem")
    return directory


def members_of(pack):
    with zipfile.ZipFile(io.BytesIO(pack)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members):
    """Return an archive of these members, as somebody makes it who has no key."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def resealed(evidence, members):
    """Return a pack of these members under the organisation's own signature."""
    contents = Contents(io.BytesIO(evidence.pack), evidence.trusted)
    file = io.BytesIO()
    with Archive(file, *contents.title) as archive:
        for name, content in members.items():
            if name not in UNLISTED:
                archive.add(name, content)
        archive.seal(evidence.signer)
    return file.getvalue()


def failed(pack, roots):
    """Return what is wrong, by the name of the check."""
    return {c.name: "; ".join(c.objections) for c in verify(io.BytesIO(pack), roots) if not c.ok}


def a_byte_changed(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_the_evidence_of_a_whole_update_verifies(evidence):
    members = members_of(evidence.pack)
    checks = verify(io.BytesIO(evidence.pack), evidence.trusted)

    assert [check for check in checks if not check.ok] == []
    acts = [name[11:-4] for name in members if name.endswith(".jws") and name[:3] == "act"]
    assert acts == [
        "open", "continue", "submit_document", "decide_document", "submit_document",
        "decide_document", "decide_request", "submit_document", "decide_document", "continue",
    ]  # fmt: skip
    assert members["timeline.pdf"].startswith(b"%PDF")
    kinds = [line["kind"] for line in json.loads(members["timeline.json"])]
    assert kinds[:2] == ["start_verified", "opened"]
    assert {"document_rejected", "request_decided", "written", "completed"} <= {*kinds}
    assert len(json.loads(members["mails.json"])) > 5
    names = {check.name for check in checks}
    assert {f"proof of {LANE}", f"certificate of {LANE}", "order of times"} <= names


def test_the_same_state_gives_the_same_bytes(evidence):
    assert evidence.pack == evidence.again


def test_the_evidence_of_an_update_without_forms_verifies(evidence):
    assert failed(evidence.other, evidence.trusted) == {}


def test_addresses_of_people_who_only_checked_are_not_in_the_pack(evidence):
    everything = b"".join(members_of(evidence.pack).values())

    assert b"Olga" in everything
    assert not [address for address in evidence.addresses if address.encode() in everything]


def test_one_changed_byte_in_any_member_is_named(evidence):
    members = members_of(evidence.pack)

    for name, content in members.items():
        found = failed(zipped({**members, name: a_byte_changed(content)}), evidence.trusted)

        expected = "signature of the list of members" if name in UNLISTED else f"member {name}"
        assert expected in found, name


def test_a_member_that_is_missing_or_too_much_or_there_twice_is_named(evidence):
    members = members_of(evidence.pack)
    less = {name: content for name, content in members.items() if name != "mails.json"}
    twice = io.BytesIO(zipped(members))
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("mails.json", b"[]")

    assert failed(zipped(less), evidence.trusted)["member mails.json"] == "mails.json is missing"
    more = failed(zipped({**members, "more.txt": b"!"}), evidence.trusted)
    assert more == {"archive": "more.txt is not in the list"}
    assert "mails.json is there twice" in failed(twice.getvalue(), evidence.trusted)["archive"]


@pytest.mark.parametrize("content", [b"", b"not a ZIP", b"PK\3\4" + b"\0" * 60])
def test_what_is_no_pack_is_refused(evidence, content):
    assert failed(content, evidence.trusted) == {"archive": "it is not a ZIP that can be read"}


def test_a_zip_that_is_no_pack_is_refused(evidence):
    found = failed(zipped({"a.txt": b"a"}), evidence.trusted)

    assert found == {"archive": "SHA256SUMS is missing"}


# From here on the pack is sealed anew, as only somebody inside could


def test_a_swapped_document_is_named(evidence):
    members = members_of(evidence.pack)
    one, two = (
        "documents/02-request_form-received.pdf",
        "documents/05-certificate_form-received.pdf",
    )
    members[one], members[two] = members[two], members[one]

    found = failed(resealed(evidence, members), evidence.trusted)

    assert found == {
        f"document {name}": "it is not the document that its record names" for name in (one, two)
    }


def test_a_document_that_was_taken_out_is_named(evidence):
    members = members_of(evidence.pack)
    index = json.loads(members["documents/index.json"])
    gone = index.pop(1)
    members["documents/index.json"] = json.dumps(index).encode()
    del members[gone["file"]]

    found = failed(resealed(evidence, members), evidence.trusted)

    assert [*found] == ["documents, none missing"]
    assert gone["id"] in found["documents, none missing"]


@pytest.mark.parametrize("name", ["actions/04-decide_document", "actions/07-decide_request"])
def test_a_decision_that_was_taken_out_is_named(evidence, name):
    members = members_of(evidence.pack)
    for suffix in (".jws", ".shown.json"):
        del members[f"{name}{suffix}"]

    found = failed(resealed(evidence, members), evidence.trusted)

    assert "behind entry" in found["actions, none missing"]


def test_a_decision_on_something_else_is_named(evidence):
    members = members_of(evidence.pack)
    name = "actions/09-decide_document.shown.json"
    members[name] = members["actions/04-decide_document.shown.json"]

    found = failed(resealed(evidence, members), evidence.trusted)

    assert found == {"action actions/09-decide_document.jws": f"{name} is not what was decided on"}


def test_a_decision_of_another_update_is_named(evidence):
    members, other = members_of(evidence.pack), members_of(evidence.other)
    members["actions/02-continue.jws"] = other["actions/02-continue.jws"]

    found = failed(resealed(evidence, members), evidence.trusted)

    assert found["action actions/02-continue.jws"] == "it is for another update"


def test_an_action_that_nobody_signed_for_us_is_named(evidence):
    members = members_of(evidence.pack)
    forger = issue_signer(Ed25519PrivateKey.generate(), now=utc_now())
    name = "actions/04-decide_document.jws"
    members[name] = forger.sign(peek(members[name].decode())).encode()

    found = failed(resealed(evidence, members), evidence.trusted)

    assert "does not belong to this organisation" in found[f"action {name}"]
    assert "behind entry" in found["actions, none missing"]


def test_a_proof_of_another_update_is_named(evidence):
    members, other = members_of(evidence.pack), members_of(evidence.other)
    for name in ("proof.bin", "proof.sig"):
        members[f"lanes/{LANE}/{name}"] = other[f"lanes/tls-client/{name}"]

    found = failed(resealed(evidence, members), evidence.trusted)

    assert [*found] == [f"proof of {LANE}"]
    assert "the certified key did not sign it" in found[f"proof of {LANE}"]


def test_a_request_with_another_key_is_named(evidence):
    members, other = members_of(evidence.pack), members_of(evidence.other)
    members[f"lanes/{LANE}/request.pem"] = other["lanes/tls-client/request.pem"]

    found = failed(resealed(evidence, members), evidence.trusted)

    assert "its key is not the one that was prepared" in found[f"request of {LANE}"]
    assert "it is for another key than the request" in found[f"certificate of {LANE}"]


def test_a_certificate_of_another_lane_is_named(evidence):
    members, other = members_of(evidence.pack), members_of(evidence.other)
    members[f"lanes/{LANE}/certificate.pem"] = other["lanes/tls-client/certificate.pem"]

    found = failed(resealed(evidence, members), evidence.trusted)

    assert "not the one that the audit trail says was issued" in found[f"certificate of {LANE}"]
    assert "another serial number" in found["answers of the CA"]


def test_another_root_of_the_ca_is_named(evidence, tmp_path):
    home = Home(tmp_path / "other").make()
    foreign = load_certificate(Layout(home.directory).root_certificate.read_text())

    found = failed(evidence.pack, Roots(evidence.trusted.decision, (foreign,)))

    assert found == {f"certificate of {LANE}": "its chain does not lead to a root that you trust"}


def test_another_decision_root_is_named(evidence):
    stranger = root_hex(Ed25519PrivateKey.generate().public_key())

    found = failed(evidence.pack, Roots((stranger,), evidence.trusted.ca))

    assert "does not belong to this organisation" in found["signature of the list of members"]
    assert all(f"action {n}" in found for n in members_of(evidence.pack) if n[:3] == "act"
               and n.endswith(".jws"))  # fmt: skip
    assert any(name.startswith("checkpoint ") for name in found)


def test_an_entry_that_was_rewritten_is_named(evidence):
    members = members_of(evidence.pack)
    name = sorted(n for n in members if n.startswith("audit/") and n.endswith(".json"))[5]
    members[name] = members[name].replace(b'"2026', b'"2025').replace(b'"2027', b'"2025')
    members[name] = members[name].replace(b'"actor":"', b'"actor":"0', 1)

    found = failed(resealed(evidence, members), evidence.trusted)

    number = int(name[6:-5])
    assert "its text is not what was hashed" in found[f"audit entry {number}"]
    assert "timeline.json" in found


def test_an_entry_that_was_taken_out_is_named(evidence):
    members = members_of(evidence.pack)
    name = sorted(n for n in members if n.startswith("audit/") and n.endswith(".json"))[4]
    del members[name]
    lines = members["audit/links.txt"].decode().splitlines(keepends=True)
    kept = [line for line in lines if int(line.split()[0]) != int(name[6:-5])]
    members["audit/links.txt"] = "".join(kept).encode()

    found = failed(resealed(evidence, members), evidence.trusted)

    assert "of the update is missing" in found["audit entries, none missing"]


def test_an_entry_with_its_hash_made_anew_is_not_under_the_checkpoint(evidence):
    members = members_of(evidence.pack)
    lines = members["audit/links.txt"].decode().splitlines()
    number, previous, _, *place = lines[3].split()
    name = f"audit/{int(number):08}.json"
    members[name] = members[name].replace(b'"actor":"', b'"actor":"0', 1)
    forged = link_hash(previous, int(number), members[name].decode())
    lines[3] = " ".join((number, previous, forged, *place))
    members["audit/links.txt"] = "".join(f"{line}\n" for line in lines).encode()

    found = failed(resealed(evidence, members), evidence.trusted)

    assert "does not cover it" in found[f"audit entry {number}"]


def test_an_approval_that_nobody_signed_is_named(evidence):
    members = members_of(evidence.pack)
    name = next(n for n, content in members.items() if b'"kind":"document_approved"' in content)
    entry = json.loads(members[name])
    entry["facts"]["token"] = ""
    members[name] = json.dumps(entry).encode()

    found = failed(resealed(evidence, members), evidence.trusted)

    number = int(name[6:-5])
    assert found["actions, none missing"] == (
        f"whoever is behind entry {number}, document_approved, is missing"
    )


def test_a_timeline_that_says_something_else_is_named(evidence):
    members = members_of(evidence.pack)
    members["timeline.json"] = members["timeline.json"].replace(b"is missing", b"is there")

    found = failed(resealed(evidence, members), evidence.trusted)

    assert found == {"timeline.json": "it does not say what the audit entries say"}


def test_an_input_that_was_not_opened_is_named(evidence):
    members = members_of(evidence.pack)
    members["update.json"] = members["update.json"].replace(
        b'"deadline_hours":720', b'"deadline_hours":721'
    )

    found = failed(resealed(evidence, members), evidence.trusted)

    assert found == {"action actions/01-open.jws": "update.json is not what was opened"}


# By hand, and from the terminal


def by_hand(pack, roots, directory):
    """Return what the README's commands say, run in a directory with the pack and the roots."""
    directory.mkdir()
    with zipfile.ZipFile(io.BytesIO(pack)) as archive:
        archive.extractall(directory)
    for file in roots.iterdir():
        shutil.copy(file, directory)
    lines = README.read_text().splitlines()
    script = "\n".join(line[6:] for line in lines if line.startswith(("    $ ", "    > ")))
    run = subprocess.run(["bash", "-c", script], cwd=directory, capture_output=True, check=False)
    return (run.stdout + run.stderr).decode()


@pytest.mark.openssl
def test_the_commands_in_the_readme_check_the_pack_by_hand(evidence, tmp_path):
    members = members_of(evidence.pack)
    assert members["README.txt"] == README.read_bytes()

    told = by_hand(evidence.pack, evidence.roots, tmp_path / "whole")

    assert "FAILED" not in told
    assert "ailure" not in told
    assert f"lanes/{LANE}/certificate.pem: OK" in told
    assert told.count("Signature Verified Successfully") == 2 + 2 * 11
    an_entry = next(name for name in members if name.startswith("audit/"))
    changed = {
        name: a_byte_changed(members[name])
        for name in (
            f"lanes/{LANE}/proof.bin", "update.json", "actions/04-decide_document.shown.json",
            "documents/02-request_form-received.pdf", "SHA256SUMS.sig", an_entry,
        )
    }  # fmt: skip
    told = by_hand(zipped({**members, **changed}), evidence.roots, tmp_path / "changed")
    for said in (
        f"FAILED lanes/{LANE}/proof.sig", "FAILED update.json",
        "FAILED actions/04-decide_document.shown.json", "Signature Verification Failure",
        "documents/02-request_form-received.pdf: FAILED", "FAILED entry ",
    ):  # fmt: skip
        assert said in told


def test_the_command_line_verifies_a_pack_and_fails_for_a_changed_one(evidence, tmp_path, capsys):
    whole, changed = tmp_path / "whole.zip", tmp_path / "changed.zip"
    whole.write_bytes(evidence.pack)
    members = members_of(evidence.pack)
    changed.write_bytes(zipped({**members, "mails.json": b"[]"}))
    command = ["evidence", "verify", "--roots", str(evidence.roots)]

    assert main([*command, str(whole)]) == 0
    assert f"ok     proof of {LANE}\n" in capsys.readouterr().out
    assert main([*command, str(changed)]) == 1
    told = capsys.readouterr()
    assert "FAILED member mails.json: its SHA-256 is another" in told.out
    assert "do not rely on this pack" in told.err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no decision root"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "cannot be read"),
    ],
)
def test_roots_that_are_none_are_refused(tmp_path, content, reason):
    file = tmp_path / "roots.pem"
    file.write_text(content)

    with pytest.raises(Refused, match=reason):
        load_roots(file)


def test_a_root_of_the_ca_is_needed_too(evidence):
    with pytest.raises(Refused, match="no root certificate of a CA"):
        load_roots(evidence.roots / "decision-root.pem")


# At the door


async def test_evidence_is_for_auditors_and_taking_it_is_on_record(office, let_in, tmp_path):
    auditor = await let_in("adam", Role.AUDITOR)
    await office.policy("tls-client R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    path = f"{API}/updates/{update_id}/evidence"

    answers = [(await who.get(path)).status_code for who in (office.holder, office.operator)]
    nothing = await auditor.get(f"{API}/updates/00000000-0000-0000-0000-000000000000/evidence")
    taken = await auditor.get(path)

    assert answers == [403, 403]
    assert nothing.status_code == 404
    assert taken.headers["content-disposition"].endswith(f'"evidence-{update_id}.zip"')
    kinds = {"kind": "evidence_exported", "actor": auditor.headers["X-Person"]}
    (entry,) = (await auditor.get(f"{API}/audit", params=kinds)).json()["items"]
    assert json.loads(entry["text"])["facts"]["update_id"] == update_id
    # An update that is still open has evidence of what happened so far.
    trusted = load_roots(roots_of(office.state.settings, tmp_path))
    assert failed(taken.content, trusted) == {}
    await office.act(update_id, "cancel", reason="enough")
    await office.until_stage(update_id, "cancelled")
    over = await fetched(auditor, update_id)
    assert "cancel" in str(sorted({*members_of(over)} - {*members_of(taken.content)}))
    assert failed(over, trusted) == {}


async def test_a_document_that_was_changed_in_the_store_is_said_and_nothing_is_sent(office, let_in):
    auditor = await let_in("adam", Role.AUDITOR)
    await office.policy("tls-client R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    document = await office.sign(update_id, "tls-client")
    digest = document["sha256"]
    file = office.state.settings.document_dir / digest[:2] / digest
    file.chmod(0o600)
    file.write_bytes(b"something else")

    answer = await auditor.get(f"{API}/updates/{update_id}/evidence")

    assert answer.status_code == 503
    assert reasons(answer) == [
        f"the document {digest} was changed in the store; restore it from a backup"
    ]
