"""What an update would do to a card: due for a reason, replacing exactly what is ours."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cardflow.model import (
    CertificateKind,
    KeyType,
    Mode,
    ObjectRef,
    Permissions,
    Purpose,
)
from cardflow.policy import Selection, Situation, make_plan, policy_objections
from tests import build

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PROFILES = {
    "logon": build.a_profile("logon", officer=True),
    "mail": build.a_profile("mail"),
    "secret": build.a_profile("secret", purpose=Purpose.ENCRYPTION),
}
POLICY = build.a_policy(build.an_entry("logon"), build.an_entry("mail", mandatory=False))


def on_card(profile, days, **changes):
    """Return a managed certificate that expires in ``days``."""
    found = build.an_old_certificate(profile, not_after=NOW + timedelta(days=days))
    return replace(found, **{"key_type": "P-256", **changes})


def foreign(sha256):
    ref = ObjectRef("f0", certificate_sha256=sha256)
    return on_card("", 900, ref=ref, kind=CertificateKind.THIRD_PARTY)


def plan(*certificates, policy=POLICY, **selection):
    situation = Situation("update-1", certificates, dict.fromkeys(PROFILES, "CN=Ada"), NOW)
    return make_plan(policy, PROFILES, situation, Selection(**selection))


@pytest.mark.parametrize(
    ("certificates", "why"),
    [
        ([], "not on the card yet"),
        ([on_card("logon", -1)], "expired on 2026-01-01"),
        ([on_card("logon", 0)], "expired on 2026-01-02"),
        ([on_card("logon", 30)], "expires on 2026-02-01"),
        ([on_card("logon", 400, key_type="RSA-2048")], "the policy now asks for P-256 keys"),
        ([on_card("logon", -9), on_card("logon", 5)], "expires on 2026-01-07"),
        ([on_card("logon", 400, revoked=True)], "revoked"),
        ([on_card("logon", 400, revoked=True), on_card("logon", 5)], "expires on 2026-01-07"),
        ([on_card("mail", 400)], "not on the card yet"),
        ([on_card("logon", 9, kind=CertificateKind.TRACKED)], "not on the card yet"),
    ],
)
def test_a_mandatory_profile_is_renewed_for_a_reason_that_is_told(certificates, why):
    (lane,) = plan(*certificates).lanes

    assert (lane.lane, lane.why) == ("logon", why)


@pytest.mark.parametrize("key_type", ["", "P-256"])
def test_a_card_that_has_everything_is_left_alone(key_type):
    made = plan(on_card("logon", 31, key_type=key_type))

    assert made.lanes == ()
    assert made.objections == (
        "the card has everything that its policy asks for: nothing to update",
    )


def test_an_optional_profile_is_added_when_it_is_chosen():
    made = plan(on_card("logon", 400), on_card("mail", 400), optional=("mail",))

    assert [(lane.lane, lane.why, lane.mandatory) for lane in made.lanes] == [
        ("mail", "chosen", False)
    ]


def test_what_is_not_optional_cannot_be_chosen():
    assert plan(optional=("logon", "fax")).objections == (
        "logon is not an optional profile of this policy",
        "fax is not an optional profile of this policy",
    )


def test_a_policy_can_keep_holders_from_choosing():
    strict = replace(POLICY, permissions=Permissions(select_optional=False))

    assert plan(policy=strict, optional=("mail",)).objections == (
        "the policy does not let you choose optional profiles",
    )


def test_a_lane_replaces_and_retires_every_certificate_of_its_profile():
    old = [on_card("logon", -1), on_card("logon", 1, ref=ObjectRef("01", "02", "03"))]
    (lane,) = plan(*old).lanes

    assert lane.replaces == lane.retires == tuple(each.ref for each in old)
    assert lane.replaced_serial_numbers == ("old-logon", "old-logon")
    assert lane.needs_officer


def test_a_lane_replaces_what_was_written_since_the_card_was_last_seen():
    written = on_card("logon", 20)
    situation = Situation("update-1", [], {"logon": "CN=Ada"}, NOW, missing=[written])
    (lane,) = make_plan(POLICY, PROFILES, situation, Selection()).lanes

    assert lane.why == "not on the card yet"
    assert lane.replaces == lane.retires == (written.ref,)
    assert lane.replaced_serial_numbers == ("old-logon",)


def test_what_the_policy_no_longer_has_goes_even_if_it_is_newer_than_the_last_look():
    written = on_card("mail", 20)
    policy, names = build.a_policy(build.an_entry("logon")), {"logon": "CN=Ada"}
    situation = Situation("update-1", [], names, NOW, missing=[written])

    assert make_plan(policy, PROFILES, situation, Selection()).removes == (written.ref,)


def test_the_new_keys_id_is_chosen_before_the_card_is_touched():
    (lane,) = plan().lanes
    (other,) = make_plan(
        POLICY, PROFILES, Situation("update-2", [], {"logon": "CN=Ada"}, NOW), Selection()
    ).lanes

    assert len(bytes.fromhex(lane.cka_id)) == 20
    assert lane.cka_id != other.cka_id


@pytest.mark.parametrize("keep", [True, False])
def test_old_encryption_keys_stay_unless_the_policy_says_otherwise(keep):
    policy = build.a_policy(build.an_entry("secret"), keep_old_encryption=keep)
    old = on_card("secret", -1)
    (lane,) = plan(old, policy=policy).lanes

    assert lane.replaces == (old.ref,)
    assert lane.retires == (() if keep else (old.ref,))


def test_what_the_policy_no_longer_has_is_removed():
    old = on_card("mail", 400)
    policy = build.a_policy(build.an_entry("logon"))
    made = plan(on_card("logon", 400), old, policy=policy)

    assert made.removes == (old.ref,)
    assert made.removed_serial_numbers == (old.serial_number,)
    assert old not in made.keeps
    assert made.objections == ()


@pytest.mark.parametrize(("profile", "keep", "removed"), [
    ("secret", True, False), ("secret", False, True), ("unknown", True, True),
])  # fmt: skip
def test_encryption_that_the_policy_dropped_stays_readable(profile, keep, removed):
    policy = build.a_policy(build.an_entry("logon"), keep_old_encryption=keep)
    made = plan(on_card(profile, 400), policy=policy)

    assert bool(made.removes) is removed
    assert bool(made.keeps) is not removed


def test_everything_that_is_neither_replaced_nor_removed_is_kept():
    stays = [on_card("mail", 400), foreign("aa")]
    made = plan(on_card("logon", -1), *stays)

    assert made.keeps == tuple(stays)


def test_third_party_certificates_are_registered_as_they_are_chosen():
    made = plan(foreign("aa"), foreign("bb"), third_party=("bb",))

    assert [ref.certificate_sha256 for ref in made.registers] == ["bb"]


def test_a_certificate_that_is_not_there_cannot_be_registered():
    assert plan(foreign("aa"), third_party=("bb",)).objections == (
        "no third-party certificate bb is on the card",
    )


def test_without_a_choice_all_third_party_certificates_are_registered():
    policy = replace(POLICY, select_third_party=False)

    assert len(plan(foreign("aa"), foreign("bb"), policy=policy).registers) == 2


def test_a_policy_that_does_not_search_registers_nothing():
    policy = replace(POLICY, search_third_party=False, select_third_party=False)

    assert plan(foreign("aa"), policy=policy).objections == ()
    made = plan(foreign("aa"), policy=policy, third_party=("aa",))
    assert made.registers == ()
    assert made.objections == ("the policy does not register third-party certificates",)


def test_registering_alone_is_reason_enough_for_an_update():
    assert plan(on_card("logon", 400), foreign("aa"), third_party=("aa",)).objections == ()


def test_a_profile_that_does_not_exist_any_more_is_named():
    policy = build.a_policy(build.an_entry("fax"), build.an_entry("logon"), build.an_entry("telex"))
    made = plan(policy=policy)

    assert made.lanes == ()
    assert made.objections == (
        "the policy names profiles that do not exist any more: fax, telex; "
        "an administrator must change the policy",
    )


# Policies


@pytest.mark.parametrize(
    ("policy", "reasons"),
    [
        (build.a_policy(build.an_entry("mail")), []),
        (replace(POLICY, profiles=()), ["profiles: a policy needs at least one"]),
        (
            build.a_policy(build.an_entry("mail"), build.an_entry("mail")),
            ["profiles: mail stands there twice"],
        ),
        (
            build.a_policy(build.an_entry("fax")),
            ["profiles.fax: there is no such profile; there are logon, mail, secret"],
        ),
        (
            build.a_policy(build.an_entry("logon", Mode.CERTIFICATE_FORM)),
            ["profiles.logon.mode: F needs a CA that issues at once, and an officer decides here"],
        ),
        (build.a_policy(build.an_entry("logon", Mode.BOTH, precheck=True)), []),
        (build.a_policy(build.an_entry("mail", Mode.CERTIFICATE_FORM)), []),
        (
            build.a_policy(build.an_entry("mail", Mode.CERTIFICATE_FORM, precheck=True)),
            ["profiles.mail.precheck: only modes R and RF have a request form to check"],
        ),
        (
            build.a_policy(build.an_entry("mail", approvals_needed=0)),
            ["profiles.mail.approvals_needed: must be between 1 and 5"],
        ),
        (replace(POLICY, contact=" "), ["contact: say whom a holder can ask"]),
        (replace(POLICY, escalation_hours=0), ["escalation_hours: must be at least 1"]),
        (
            replace(POLICY, reminder_hours=0, deadline_hours=0),
            [
                "reminder_hours: must be at least 1",
                "deadline_hours: must be at least 1",
                "deadline_hours: must be later than the first reminder (reminder_hours)",
            ],
        ),
        (replace(POLICY, renew_before_days=-1), ["renew_before_days: must not be negative"]),
        (
            replace(POLICY, search_third_party=False),
            ["select_third_party: needs search_third_party"],
        ),
    ],
)
def test_what_a_policy_must_be(policy, reasons):
    assert policy_objections(policy, PROFILES) == reasons


@pytest.mark.parametrize("key_type", KeyType)
def test_every_key_type_can_be_asked_for(key_type):
    policy = build.a_policy(build.an_entry("mail", key_type=key_type))

    assert policy_objections(policy, PROFILES) == []
