"""Profiles are data, refused as a whole with every reason at once."""

import pytest

from cardflow.errors import Refused
from cardflow.model import Approval
from cardflow.profiles import load_profiles

GOOD = """
[client]
title = "Client"
purpose = "authentication"
key_usage = ["digitalSignature"]
extended_key_usage = ["1.3.6.1.5.5.7.3.2"]
subject_alt_names = ["email"]
validity_days = 365
approval = "automatic"
"""


@pytest.fixture
def load(tmp_path):
    """Return what loads a profile file with the text given."""

    def load(text: str | bytes):
        path = tmp_path / "profiles.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_profiles(path)

    return load


def test_the_samples_are_five():
    found = load_profiles()
    assert list(found) == [
        "smart-card-logon", "tls-client", "smime-signing", "smime-encryption", "document-signing",
    ]  # fmt: skip
    needed = {
        name: p.officers_needed for name, p in found.items() if p.approval is Approval.OFFICER
    }
    assert needed == {"smart-card-logon": 1, "document-signing": 2}


def test_a_good_file_is_read(load):
    assert load(GOOD)["client"].name == "client"


@pytest.mark.parametrize(
    ("old", "new", "objection"),
    [
        ("[client]", "[Client]", "Client.name"),
        ('"Client"', '""', "client.title"),
        ('"Client"', "3", "client.title"),
        ('"authentication"', '"fun"', "client.purpose"),
        ('"digitalSignature"', '"keyCertSign"', "client.key_usage.0"),
        ('["digitalSignature"]', "[]", "client.key_usage"),
        ('"digitalSignature"', '"digitalSignature", "digitalSignature"', "none may stand twice"),
        ("1.3.6.1.5.5.7.3.2", "clientAuth", "client.extended_key_usage.0"),
        ("1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.9", "must not allow signing OCSP replies"),
        ("1.3.6.1.5.5.7.3.2", "2.5.29.37.0", "must not allow any usage"),
        ("1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.20.2.1", "requesting certificates for others"),
        ('"email"', '"dns"', "client.subject_alt_names.0"),
        ("365", "0", "client.validity_days"),
        ("365", '"365"', "client.validity_days"),
        ("365", "4000", "client.validity_days"),
        ('"automatic"', '"perhaps"', "client.approval"),
        ('"automatic"', '"automatic"\nofficers_needed = 2', "officers_needed is for approval"),
        ('"automatic"', '"officer"\nofficers_needed = 0', "client.officers_needed"),
        ("title", "name = 'x'\ntitle", "client.name: the table's own name"),
        ("title", "colour = 'red'\ntitle", "client.colour"),
        ("validity_days = 365\n", "", "client.validity_days"),
    ],
)
def test_a_bad_profile_is_refused_by_file_key_and_reason(load, old, new, objection):
    with pytest.raises(Refused) as caught:
        load(GOOD.replace(old, new))
    (found,) = caught.value.objections
    assert found.startswith("profiles.toml: ")
    assert objection in found


def test_all_objections_come_at_once(load):
    with pytest.raises(Refused) as caught:
        load(GOOD.replace("365", "0").replace('"Client"', '""') + "\n[other]\n")
    assert len(caught.value.objections) == 9


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no profile is in it"),
        ("client = 1", "client: a table is expected"),
        ("[client", "not TOML"),
        (b"\xff\xfe", "not TOML in UTF-8"),
    ],
)
def test_what_is_no_profile_file_is_refused(load, text, reason):
    with pytest.raises(Refused, match=reason):
        load(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Refused, match=r"nothing\.toml: cannot be read"):
        load_profiles(tmp_path / "nothing.toml")
