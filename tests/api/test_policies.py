"""Policies: taken in as numbered versions, or refused with every reason at once."""

from pathlib import Path

import pytest

from cardflow.model import Role
from tests.api.conftest import reasons

POLICIES = "/api/v1/policies"
SAMPLE = (Path(__file__).parents[2] / "policies" / "rf.toml").read_text("utf-8")


async def take_in(client, text, media_type="application/toml"):
    return await client.post(POLICIES, content=text, headers={"Content-Type": media_type})


async def test_each_import_is_the_next_version_and_the_same_again_is_not(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    first = await take_in(ada, SAMPLE)
    again = await take_in(ada, SAMPLE)
    changed = await take_in(ada, SAMPLE + "\n# with a remark\n")

    assert [a.status_code for a in (first, again, changed)] == [201, 201, 201]
    assert [a.json()["version"] for a in (first, again, changed)] == [1, 1, 2]


async def test_a_version_is_shown_as_json_and_as_the_toml_it_came_as(sign_in):
    ada, holly = await sign_in("ada", Role.ADMIN), await sign_in("holly")
    await take_in(ada, SAMPLE)

    as_json = await holly.get(f"{POLICIES}/rf/1")
    as_toml = await holly.get(f"{POLICIES}/rf/1", headers={"Accept": "application/toml"})

    assert as_json.json()["version"] == 1
    assert as_json.json()["profiles"][0]["mode"]
    assert as_toml.text == SAMPLE
    assert as_toml.headers["content-type"].startswith("application/toml")


async def test_lists_show_the_newest_of_each_and_every_version_of_one(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    for text in (SAMPLE, SAMPLE + "# 2\n", SAMPLE.replace('"rf"', '"other"')):
        await take_in(ada, text)

    newest = (await ada.get(POLICIES)).json()["items"]
    versions = (await ada.get(f"{POLICIES}/rf")).json()["items"]

    assert [(p["name"], p["version"]) for p in newest] == [("other", 1), ("rf", 2)]
    assert [p["version"] for p in versions] == [1, 2]


async def test_a_bad_policy_is_refused_with_every_reason_by_key(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    bad = SAMPLE.replace('"RF"', '"F"', 1).replace('"tls-client"', '"tls"')
    bad = "deadline_hours = 1\n" + "\n".join(
        line for line in bad.splitlines() if not line.startswith("deadline_hours")
    )

    answer = await take_in(ada, bad)

    assert answer.status_code == 422
    told = {error["field"]: error["reason"] for error in answer.json()["errors"]}
    assert len(told) >= 2
    assert "deadline_hours" in told
    assert all(told.values())


async def test_what_is_no_toml_is_refused(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    assert "not TOML" in reasons(await take_in(ada, "name = "))[0] + str(
        (await take_in(ada, "name = ")).json()
    )
    assert (await take_in(ada, b"\xff")).status_code == 422
    assert (await take_in(ada, SAMPLE, "text/plain")).status_code == 415
    assert (await take_in(ada, "#" * 300_000)).status_code == 413


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.ADMIN])
async def test_only_administrators_change_policies(sign_in, role):
    somebody = await sign_in("sam", role)

    assert (await take_in(somebody, SAMPLE)).status_code == 403


async def test_what_is_not_there_is_not_found(sign_in):
    holly = await sign_in("holly")

    for path in ("/nothing", "/nothing/1", "/rf/2"):
        assert (await holly.get(POLICIES + path)).status_code == 404


async def test_the_profiles_are_listed(sign_in):
    holly = await sign_in("holly")

    found = (await holly.get("/api/v1/profiles")).json()["items"]

    assert "smart-card-logon" in [profile["name"] for profile in found]
