"""Whole card updates, one mode or mishap each, on the product's own processes and one card.

The first is the demo's own: proven when all is well, and caught when it is not.

What a test leaves on the card is what the next one finds there, as in life; each says by its policy
what it wants there, so that every test also runs alone.
"""

import io
import os
from functools import partial
from pathlib import Path

import pytest

from cardflow.ca.embedded.keys import Layout
from cardflow.evidence.checks import verify
from cardflow.evidence.roots import load_roots
from cardflow.model import LaneStage, Means, Stage, Verdict
from cli.client import Problem
from cli.demo import prove
from cli.demo_card import BADGE_ID
from cli.demo_people import ADMIN, HOLDER, OFFICERS, OPERATOR
from cli.demo_steps import Turns, UpdateRun
from cli.demo_update import swap
from tests.e2e.conftest import (
    Running,
    bring_to,
    conclude,
    happened,
    managed,
    on_card,
    policy,
    under,
    whole_pairs,
)
from tests.e2e.stores import Histories
from tests.e2e.traces import Traces, leave, personal_data, plant, stores
from tests.secrecy.search import Search, all_within

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.xdist_group("demo")]
TLS = ("tls-client", "none", "P-256")
LOGON = ("smart-card-logon", "R", "RSA-2048")
SIGNING = ("smime-signing", "F", "P-256")
CAUGHT_BY = ["certificates as issued", "the key on the card fits"]
LEAST_STORES, LEAST_PERSONAL = 20, 20


async def test_an_update_in_mode_rf_goes_on_after_a_restart_and_its_proofs_cannot_be_fooled(
    running: Running,
) -> None:
    scene, case = running.scene, running.case
    honest = await running.do(partial(prove, scene, case))
    right = scene.state.card.certificate(case.new[0].cka_id)
    await running.do(partial(swap, scene, case))
    broken = await running.do(partial(prove, scene, case))
    scene.state.card.swap_certificate(case.new[0].cka_id, right)

    assert [(proof.claim, proof.said) for proof in honest if not proof.holds] == []
    assert len(honest) == 11
    assert [proof.claim for proof in broken if not proof.holds] == CAUGHT_BY
    assert len(case.documents) == 2


async def test_the_evidence_of_an_update_on_the_card_verifies(
    running: Running, tmp_path: Path
) -> None:
    settings, admin = running.scene.state.settings, running.scene.cast.api(ADMIN)
    pack = admin.content(f"/updates/{running.run.update_id}/evidence")
    roots = (settings.decision_root_file, Layout(settings.ca_dir).root_certificate)
    (tmp_path / "roots.pem").write_text("".join(file.read_text() for file in roots))

    checks = verify(io.BytesIO(pack), load_roots(tmp_path / "roots.pem"))

    assert [check for check in checks if not check.ok] == []
    assert "proof of smart-card-logon" in {check.name for check in checks}


async def test_mode_none_is_one_visit_with_one_pin(running: Running) -> None:
    scene = running.scene

    def update() -> tuple[UpdateRun, int]:
        run = under(scene, policy("only-web", TLS))
        prompts = scene.state.prompts.read_text().count("Code: ")
        run.open()
        run.until_stage(Stage.COMPLETED)
        managed(run, "tls-client")
        return run, scene.state.prompts.read_text().count("Code: ") - prompts

    run, prompts = await running.do(update)

    assert prompts == 1
    assert f"Holder: {scene.cast.person(HOLDER)['name']}" in scene.state.prompts.read_text()
    assert whole_pairs(scene) == 1
    assert [lane["label"] for lane in run.view()["lanes"]] == ["Valid, on card"]


async def test_with_every_lane_rejected_the_update_ends_and_the_card_is_as_before(
    running: Running,
) -> None:
    def update() -> tuple[UpdateRun, dict[str, list[str]]]:
        bring_to(running.scene, "tls-client")
        before = on_card(running.scene)
        run = under(running.scene, policy("logon-too", TLS, LOGON))
        run.open()
        run.until_stage(Stage.PENDING)
        Turns(run, refuse_at_ca={"smart-card-logon": "no"}).until_ready()
        return run, before

    run, before = await running.do(update)

    assert run.view()["stage"] == Stage.REJECTED
    assert before.items() <= on_card(running.scene).items()


async def test_a_second_update_is_refused_while_one_is_open(running: Running) -> None:
    def update() -> Problem:
        bring_to(running.scene, "tls-client")
        run = under(running.scene, policy("signing-again", TLS, SIGNING))
        run.open()
        run.until_stage(Stage.PENDING)
        with pytest.raises(Problem) as caught:
            UpdateRun(run.cast, run.card_id).open()
        run.cancel("enough seen")
        run.until_stage(Stage.CANCELLED)
        return caught.value

    refused = await running.do(update)

    assert refused.status == 409
    assert "already open" in refused.detail


async def test_mode_r_waits_for_the_form_and_the_officer(running: Running) -> None:
    def update() -> UpdateRun:
        bring_to(running.scene, "tls-client")
        run = under(running.scene, policy("logon", LOGON, TLS))
        run.open()
        run.until_stage(Stage.PENDING)
        assert Turns(run).until_ready()["stage"] == Stage.READY
        conclude(run, "smart-card-logon", "tls-client")
        return run

    run = await running.do(update)

    kinds = happened(run, "smart-card-logon")
    assert kinds.count("document_received") == 1
    assert kinds.index("document_received") < kinds.index("certificate_issued")


async def test_the_ca_s_no_ends_one_lane_and_the_others_go_on(running: Running) -> None:
    def update() -> UpdateRun:
        bring_to(running.scene, "tls-client")
        run = under(running.scene, policy("two", LOGON, ("tls-client", "none", "P-384")))
        run.open()
        run.until_stage(Stage.PENDING)
        Turns(run, refuse_at_ca={"smart-card-logon": "not in this department"}).until_ready()
        conclude(run, "tls-client")
        return run

    run = await running.do(update)

    lanes = run.lanes()
    assert lanes["smart-card-logon"]["stage"] == LaneStage.CA_REJECTED
    assert "not in this department" in lanes["smart-card-logon"]["reason"]
    assert lanes["tls-client"]["stage"] == LaneStage.WRITTEN
    assert run.contents()["update_due"]
    assert whole_pairs(running.scene) == 1


async def test_mode_f_issues_first_and_writes_after_the_form(running: Running) -> None:
    def update() -> UpdateRun:
        run = under(running.scene, policy("signing", SIGNING))
        run.open()
        lane = run.until_lane("smime-signing", LaneStage.AWAITING_CERTIFICATE_FORM)
        assert lane["label"] == "Valid"
        assert (
            Turns(run, send_back={"smime-signing": "sign in ink"}).until_ready()["stage"]
            == Stage.READY
        )
        conclude(run, "smime-signing")
        return run

    run = await running.do(update)

    kinds = happened(run, "smime-signing")
    assert kinds.index("certificate_issued") < kinds.index("document_rejected")
    assert kinds.count("document_received") == 2
    assert whole_pairs(running.scene) == 1


async def test_documents_outside_the_portal_are_recorded_by_an_operator(running: Running) -> None:
    def update() -> tuple[Problem, UpdateRun]:
        toml = policy("by-post", ("smime-signing", "F", "P-384"), document_exchange="outside")
        run = under(running.scene, toml)
        run.open()
        run.until_lane("smime-signing", LaneStage.AWAITING_CERTIFICATE_FORM)
        with pytest.raises(Problem) as caught:
            run.sign("smime-signing")
        path = f"/updates/{run.update_id}/lanes/smime-signing/documents"
        record = {"means": Means.POST.value, "note": "letter of 3 May"}
        run.cast.api(OPERATOR).upload(path, None, record)
        run.decide("smime-signing", Verdict.APPROVE)
        run.until_stage(Stage.READY)
        conclude(run, "smime-signing")
        return caught.value, run

    refused, run = await running.do(update)

    assert "not uploaded here" in refused.detail
    assert run.lanes()["smime-signing"]["document"]["means"] == Means.POST


async def test_a_form_is_signed_with_the_card_and_approved_by_the_policy(running: Running) -> None:
    def update() -> tuple[UpdateRun, str]:
        bring_to(running.scene, "tls-client")
        signed = 'certificate_form_signature = "electronic"\napprove_signed = true'
        run = under(running.scene, f"{policy('with-the-card', TLS, SIGNING)}\n{signed}")
        run.open()
        run.until_lane("smime-signing", LaneStage.AWAITING_CERTIFICATE_FORM)
        run.until_visit_ends()
        digest = run.sign_with_card("smime-signing")["form"]["sha256"]
        run.until_stage(Stage.READY)
        conclude(run, "tls-client", "smime-signing")
        return run, digest

    run, digest = await running.do(update)

    documents = list(run.cast.api(HOLDER).items(f"/updates/{run.update_id}/documents"))
    received = [one for one in documents if one["direction"] == "received"]
    assert [one["state"] for one in received] == ["accepted"]
    assert received[0]["findings"]["signature"]["verdict"] == "good"
    assert f"{digest[:4]} {digest[4:8]}" in running.scene.state.prompts.read_text()
    assert whole_pairs(running.scene) == 2


async def test_clearing_takes_everything_of_ours_and_nothing_else(running: Running) -> None:
    def clear() -> UpdateRun:
        run = under(running.scene, policy("start", TLS))
        run.clear("the card is handed on")
        run.until_stage(Stage.COMPLETED)
        managed(run)
        return run

    badge = running.scene.state.card.certificate(BADGE_ID)
    run = await running.do(clear)

    assert on_card(running.scene) == {}
    assert running.scene.state.card.certificate(BADGE_ID) == badge
    seen = run.contents()
    assert [one["cka_id"] for one in (*seen["tracked"], *seen["third_party"])] == [BADGE_ID]


async def test_a_cancelled_update_can_be_begun_anew_at_once_and_leaves_nothing(
    running: Running,
) -> None:
    def update() -> tuple[UpdateRun, UpdateRun]:
        bring_to(running.scene, "tls-client")
        run = under(running.scene, policy("signing-too", TLS, SIGNING))
        run.open()
        lane = run.until_lane("smime-signing", LaneStage.AWAITING_CERTIFICATE_FORM)
        issued = lane["serial_number"]
        run.cancel("changed my mind")
        run.until_stage(Stage.CANCELLED)
        again = UpdateRun(run.cast, run.card_id)
        again.open()
        again.until_stage(Stage.PENDING)
        Turns(again).until_ready()
        conclude(again, "tls-client", "smime-signing")
        revoked = run.cast.api(OFFICERS[0]).items("/ca/certificates", serial_number=issued)
        assert [one["state"] for one in revoked] == ["revoked"]
        return run, again

    run, again = await running.do(update)

    assert run.update_id != again.update_id
    assert whole_pairs(running.scene) == 2


# What all of the above has left behind


@pytest.fixture(scope="module")
async def traces(running: Running) -> Traces:
    """Return what two more updates left, the first with a wrong PIN and then the right one."""
    traces = await running.do(partial(leave, running.scene, os.getpid()))
    await plant(traces)
    return traces


@pytest.fixture(scope="module")
async def histories(traces: Traces) -> Histories:
    """Return what Temporal keeps."""
    return await Histories.of(traces.scene.state.settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the memory of others")
async def test_no_pin_is_in_any_store_and_what_was_planted_is_found_in_each(
    traces: Traces, histories: Histories
) -> None:
    pins = {"right PIN": traces.right, "wrong PIN": traces.wrong}
    found = {one.name: one.searched(pins) for one in stores(traces, histories)}

    assert {name: pins for name, (pins, _) in found.items() if pins} == {}
    assert ", ".join(name for name, (_, has_control) in found.items() if not has_control) == ""
    assert len(found) >= LEAST_STORES


async def test_personal_data_is_nowhere_in_temporal_without_the_key(
    traces: Traces, histories: Histories
) -> None:
    fields = personal_data(traces)
    on_disk = [file.read_bytes() for file in traces.scene.state.directory.glob("temporal.db*")]
    without = all_within(*on_disk, *histories.raw, *histories.as_json, *histories.pages)
    search = Search(fields)
    in_clear = search.found_in(*without)
    with_key = search.found_in(*all_within(*histories.decoded))

    assert [name for name in fields if f"{name} as UTF-8" not in with_key] == []
    assert in_clear == []
    assert len(fields) >= LEAST_PERSONAL
