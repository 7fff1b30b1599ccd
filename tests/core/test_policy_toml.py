"""Policies travel as TOML without losing or gaining anything."""

import json
from pathlib import Path

import pytest

from cardflow.errors import Refused
from cardflow.model import MailKind, Mode
from cardflow.policy_toml import export_policy, import_policy, stored_policy
from cardflow.profiles import load_profiles

SAMPLES = Path(__file__).parents[2] / "policies"
GOOD = """
name = "staff"
title = "Staff"
contact = "Ask Ben."
[[profiles]]
profile = "tls-client"
mode = "none"
key_type = "P-256"
"""


def read(text, version=1):
    return import_policy(text, version=version, profiles=load_profiles(), source="staff.toml")


def objections_to(text):
    with pytest.raises(Refused) as refused:
        read(text)
    return refused.value.objections


@pytest.mark.parametrize("name", ["none", "r", "f", "rf"])
def test_every_sample_is_accepted_and_comes_back_from_its_export(name):
    policy = read((SAMPLES / f"{name}.toml").read_text("utf-8"), version=7)

    assert policy.name == name
    assert stored_policy(export_policy(policy), 7) == policy


def test_the_samples_cover_every_mode():
    policies = [read((SAMPLES / f"{n}.toml").read_text()) for n in ("none", "r", "f", "rf")]

    assert {entry.mode for policy in policies for entry in policy.profiles} == set(Mode)


def test_what_is_left_out_takes_the_default():
    policy = read(GOOD)

    assert policy.notifications == tuple(MailKind)
    assert not policy.attach_documents
    assert policy.permissions.cancel
    assert policy.version == 1


def test_texts_with_quotes_umlauts_and_control_signs_survive_an_export():
    title = 'He said "ä\\ö"\t\x7f\n'
    policy = stored_policy(GOOD.replace('"Staff"', '"x"'), 1)
    changed = type(policy)(**{**vars(policy), "title": title})

    assert stored_policy(export_policy(changed), 1) == changed


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        (('"none"', '"rf"'), "staff.toml: profiles.0.mode: Input should be 'none', 'R', 'F'"),
        (("name =", "nmae ="), "staff.toml: nmae: there is no such key"),
        (("name =", "nmae ="), "staff.toml: name: missing"),
        (('"P-256"', '"P-256"\napprovals_needed = "2"'), "profiles.0.approvals_needed: Input"),
        (('"P-256"', '"P-256"\nmandatory = 1'), "staff.toml: profiles.0.mandatory: Input"),
        (('"P-256"', '"P-256"\nprecheck = true'), "only modes R and RF have a request form"),
        (('"P-256"', '"P-256"\napprovals_needed = 6'), "must be between 1 and 5"),
        (('"tls-client"', '"tls"'), "staff.toml: profiles.tls: there is no such profile"),
        (('"Ask Ben."', '" "'), "staff.toml: contact: say whom"),
        (('"Staff"', "1979-05-27"), "staff.toml: title: Input should be a valid string"),
        (('"Staff"', "nan"), "staff.toml: title: Input should be a valid string"),
        (('"Staff"', f'"{"x" * 501}"'), "staff.toml: title: longer than 500"),
        (('"staff"', '"Staff!"'), "staff.toml: name: small letters"),
        (('"staff"', f'"{"a" * 65}"'), "staff.toml: name: small letters"),
        (('"staff"', '"staff"\nversion = 3'), "staff.toml: version: leave it out"),
        (('"staff"', '"staff"\ndeadline_hours = 999999'), "deadline_hours: must be at most"),
        (('"staff"', '"staff"\nreminder_hours = 0'), "reminder_hours: must be at least 1"),
        (('"staff"', '"staff"\ndeadline_hours = 1'), "must be later than the first reminder"),
        (('"staff"', '"staff"\nrenew_before_days = -1'), "must not be negative"),
        (('"staff"', '"staff"\nsearch_third_party = false'), "needs search_third_party"),
        (('"staff"', '"staff"\nnotifications = ["post"]'), "staff.toml: notifications.0: Input"),
        (('"none"', '"none'), "staff.toml: not TOML:"),
    ],
)
def test_a_bad_policy_is_refused_by_file_key_and_reason(change, objection):
    assert any(objection in found for found in objections_to(GOOD.replace(*change)))


def test_mode_f_is_refused_on_a_profile_that_needs_an_officer():
    text = GOOD.replace('"tls-client"', '"smart-card-logon"').replace('"none"', '"F"')

    assert objections_to(text) == [
        "staff.toml: profiles.smart-card-logon.mode: "
        "F needs a CA that issues at once, and an officer decides here"
    ]


def test_every_reason_is_told_at_once():
    text = GOOD.replace('"Staff"', "5").replace('"none"', '"X"') + "colour = 1\n[rights]\na = 1\n"

    assert len(objections_to(text)) == 4


def test_what_cannot_be_read_hides_nothing_that_the_rules_say_of_the_rest():
    text = (SAMPLES / "rf.toml").read_text("utf-8").replace('"RF"', '"XX"', 1)
    text = text.replace('contact = "', 'contact = ""\n# "').replace("= 48 ", '= "two days" ')
    text = text.replace("= 720 ", "= 0 ").replace("approvals_needed = 1", "approvals_needed = 9")

    keys = [objection.split(": ")[1] for objection in objections_to(text)]

    assert keys == [
        "profiles.0.mode",
        "reminder_hours",
        "profiles.document-signing.approvals_needed",
        "contact",
        "deadline_hours",
    ]


def test_a_policy_without_profiles_and_one_with_a_profile_twice_are_refused():
    head, _, entry = GOOD.partition("[[")

    assert objections_to(head + "profiles = []") == [
        "staff.toml: profiles: a policy needs at least one"
    ]
    assert objections_to(GOOD + "[[" + entry) == [
        "staff.toml: profiles: tls-client stands there twice"
    ]


@pytest.mark.parametrize(
    ("reasons", "objection"),
    [
        ([f"Reason {n}." for n in range(21)], "rejection_reasons: at most 20"),
        (["x" * 201], "rejection_reasons.0: longer than 200 characters"),
        (["Fine.", " "], "rejection_reasons.1: one line of text is needed"),
        (["Two\nlines."], "rejection_reasons.0: one line of text is needed"),
        (["Same.", "Same."], "rejection_reasons: one of them stands there twice"),
    ],
)
def test_reasons_to_pick_are_few_and_short(reasons, objection):
    text = f"rejection_reasons = {json.dumps(reasons)}\n{GOOD}"

    assert objections_to(text) == [f"staff.toml: {objection}"]


def test_reasons_to_pick_survive_an_export():
    policy = read(f'rejection_reasons = ["The signature is missing.", "Unleserlich."]\n{GOOD}')

    assert policy.rejection_reasons == ("The signature is missing.", "Unleserlich.")
    assert stored_policy(export_policy(policy), 1) == policy
