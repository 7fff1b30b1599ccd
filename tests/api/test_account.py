"""One's own account: language, time zone, and where one is signed in."""

import pytest

from api.web.account import browser
from cardflow.model import Role
from tests.api.conftest import PASSWORD, client_of, reasons
from tests.api.test_step_up import long_ago

ME = "/api/v1/me"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


async def test_people_choose_their_language_and_time_zone(sign_in):
    holly = await sign_in("holly")

    changed = await holly.patch(ME, json={"language": "de", "time_zone": "Europe/Berlin"})
    kept = await holly.patch(ME, json={"time_zone": ""})

    assert (changed.json()["language"], changed.json()["time_zone"]) == ("de", "Europe/Berlin")
    assert (kept.json()["language"], kept.json()["time_zone"]) == ("de", "")
    assert (await holly.get(ME)).json()["language"] == "de"


@pytest.mark.parametrize(
    "body",
    [
        {"time_zone": "Europe/Nowhere"},
        {"time_zone": "../etc"},
        {"language": "german"},
        {"name": "x"},
    ],
)
async def test_what_cannot_be_chosen_is_refused_by_name(sign_in, body):
    holly = await sign_in("holly")

    answer = await holly.patch(ME, json=body)

    assert answer.status_code == 422
    assert next(iter(body)) in answer.json()["errors"][0]["field"]
    assert (await holly.get(ME)).json()["time_zone"] == ""


async def test_people_see_where_they_are_signed_in_and_end_one(app, sign_in):
    here = await sign_in("holly")
    async with client_of(app, headers={"User-Agent": FIREFOX}) as elsewhere:
        credentials = {"login": "holly", "password": PASSWORD}
        assert (await elsewhere.post("/api/v1/session", json=credentials)).status_code == 201
        listed = (await here.get(f"{ME}/sessions")).json()["items"]
        other = next(one for one in listed if not one["current"])

        answer = await here.delete(f"{ME}/sessions/{other['id']}")

        assert [one["current"] for one in listed].count(True) == 1
        assert other["user_agent"] == FIREFOX
        assert answer.status_code == 204
        assert (await elsewhere.get(ME)).status_code == 401
    assert len((await here.get(f"{ME}/sessions")).json()["items"]) == 1


async def test_all_other_sign_ins_end_at_once(app, sign_in):
    here = await sign_in("holly")
    async with client_of(app) as elsewhere:
        await elsewhere.post("/api/v1/session", json={"login": "holly", "password": PASSWORD})

        answer = await here.delete(f"{ME}/sessions")

        assert answer.status_code == 204
        assert (await elsewhere.get(ME)).status_code == 401
    assert (await here.get(ME)).status_code == 200


async def test_a_sign_in_is_ended_with_a_fresh_proof(app, sign_in):
    holly = await sign_in("holly")
    (only,) = (await holly.get("/api/v1/me/sessions")).json()["items"]
    await long_ago(app)

    one = await holly.delete(f"/api/v1/me/sessions/{only['id']}")
    others = await holly.delete("/api/v1/me/sessions")

    for answer in (one, others):
        assert answer.status_code == 401
        assert answer.json()["type"].endswith("fresh-sign-in-needed")
    assert (await holly.get("/api/v1/me/sessions")).status_code == 200


async def test_nobody_ends_the_sign_in_of_somebody_else(sign_in):
    holly, ada = await sign_in("holly"), await sign_in("ada", Role.ADMIN)
    (theirs,) = (await holly.get(f"{ME}/sessions")).json()["items"]

    answer = await ada.delete(f"{ME}/sessions/{theirs['id']}")

    assert answer.status_code == 404
    assert reasons(answer) == ["there is no such sign-in"]
    assert (await holly.get(ME)).status_code == 200


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox · Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140 Safari/537 Edg/140",
         "Edge · Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604",
         "Safari · iOS"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_browser_is_called_what_people_call_it(user_agent, name):
    assert browser(user_agent) == name
