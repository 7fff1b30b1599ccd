"""The register of people: who may look, who may change, what a file may bring."""

import pytest

from cardflow.model import Role
from tests.api.conftest import reasons

PEOPLE = "/api/v1/people"
UNKNOWN = "01900000-0000-7000-8000-000000000000"
HOLLY = {"login": "holly", "name": "Holly Wood", "email": "holly@example.org"}


async def send_csv(client, text, *, dry_run=False, **headers):
    given, query = {"Content-Type": "text/csv", **headers}, {"dry_run": dry_run}
    return await client.post(f"{PEOPLE}/import", content=text, headers=given, params=query)


async def test_an_administrator_registers_a_person_who_is_a_holder_by_default(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.post(PEOPLE, json=HOLLY)

    assert answer.status_code == 201
    assert answer.json()["roles"] == ["holder"]
    shown = await ada.get(f"{PEOPLE}/{answer.json()['id']}")
    assert shown.json()["name"] == "Holly Wood"


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.ADMIN])
async def test_only_administrators_register_people(sign_in, role):
    somebody = await sign_in("sam", role)

    answer = await somebody.post(PEOPLE, json=HOLLY)

    assert answer.status_code == 403
    assert "manage people" in reasons(answer)[0]


async def test_a_holder_sees_nobody_else(sign_in):
    holly = await sign_in("holly")

    assert (await holly.get(PEOPLE)).status_code == 403


async def test_a_login_is_given_once(sign_in, register):
    await register("holly")
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.post(PEOPLE, json=HOLLY)

    assert answer.status_code == 409
    assert "taken" in reasons(answer)[0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"is_admin": True}, "body.is_admin"),
        ({"id": "7"}, "body.id"),
        ({"login": "two words"}, "body.login"),
        ({"name": ""}, "body.name"),
        ({"name": "x" * 201}, "body.name"),
        ({"name": "two\nlines"}, "body.name"),
        ({"email": "no address"}, "body.email"),
        ({"roles": []}, "body.roles"),
        ({"roles": ["king"]}, "body.roles.0"),
    ],
)
async def test_what_is_wrong_with_a_person_is_said_by_field(sign_in, change, field):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.post(PEOPLE, json={**HOLLY, **change})

    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]


async def test_a_person_who_is_not_there_is_not_found(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    for answer in (
        await ada.get(f"{PEOPLE}/0192-0"),
        await ada.patch(f"{PEOPLE}/0192-0", json={"name": "X"}),
        await ada.post(f"{PEOPLE}/0192-0/password", json={"password": "a long password"}),
    ):
        assert answer.status_code == 404
        assert "person" in reasons(answer)[0]


async def test_roles_count_from_the_next_request_on(sign_in, register):
    ada = await sign_in("ada", Role.ADMIN)
    holly = await sign_in("holly")

    await ada.patch(f"{PEOPLE}/{holly.headers['X-Person']}", json={"roles": ["operator"]})

    assert (await holly.get(PEOPLE)).status_code == 200


async def test_a_disabled_person_is_signed_out(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    holly = await sign_in("holly")

    await ada.patch(f"{PEOPLE}/{holly.headers['X-Person']}", json={"active": False})

    assert (await holly.get("/api/v1/me")).status_code == 401


async def test_an_administrator_cannot_lock_everybody_out(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.patch(
        f"{PEOPLE}/{ada.headers['X-Person']}", json={"active": False, "roles": ["holder"]}
    )

    assert answer.status_code == 409
    assert len(reasons(answer)) == 2


async def test_people_are_found_by_a_part_of_their_name(sign_in, register):
    await register("holly", name="Holly Wood")
    await register("otto", name="100% Otto")
    ada = await sign_in("ada", Role.ADMIN)

    by_name = await ada.get(PEOPLE, params={"search": "wood"})
    by_sign = await ada.get(PEOPLE, params={"search": "100%"})

    assert [person["login"] for person in by_name.json()["items"]] == ["holly"]
    assert [person["login"] for person in by_sign.json()["items"]] == ["otto"]


async def test_a_file_brings_new_people_and_changes_known_ones(sign_in, register):
    await register("otto", email="old@example.org")
    ada = await sign_in("ada", Role.ADMIN)

    answer = await send_csv(
        ada,
        "login;name;email;roles\n"
        "holly;Holly Wood;holly@example.org;holder operator\n"
        "otto;Otto;new@example.org;holder\n",
    )

    assert answer.json() == {
        "created": 1,
        "updated": 1,
        "unchanged": 0,
        "refused": [],
        "lines": [],
    }
    found = {p["login"]: p for p in (await ada.get(PEOPLE)).json()["items"]}
    assert found["holly"]["roles"] == ["holder", "operator"]
    assert found["otto"]["email"] == "new@example.org"


async def test_a_column_that_a_file_leaves_out_stays_as_it_is(sign_in, register):
    await register("otto", email="old@example.org")
    ada = await sign_in("ada", Role.ADMIN)

    await send_csv(ada, "login,name\notto,Otto the Great\n")

    found = (await ada.get(PEOPLE, params={"search": "otto"})).json()["items"][0]
    assert (found["name"], found["email"]) == ("Otto the Great", "old@example.org")


async def test_bad_lines_are_refused_by_line_and_field_and_the_others_taken(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await send_csv(
        ada,
        "login,name,email,roles\n"
        "holly,Holly,holly@example.org,holder\n"
        "=cmd|' /C calc'!A1,Evil,e@example.org,holder\n"
        "two words,Two,t@example.org,holder\n"
        "otto,Otto,otto@example.org,king\n"
        "short,line\n"
        "ada,Ada,ada@example.org,holder\n",
    )

    told = answer.json()
    assert (told["created"], told["updated"]) == (1, 0)
    assert [(r["line"], r["field"]) for r in told["refused"]] == [
        (3, "login"),
        (4, "login"),
        (5, "roles"),
        (6, ""),
        (7, "roles"),
    ]


async def test_a_dry_run_tells_every_line_and_stores_nothing(sign_in, register):
    await register("otto", email="old@example.org")
    await register("olga", name="Olga")
    ada = await sign_in("ada", Role.ADMIN)
    text = (
        "login,name,email\n"
        "holly,Holly,holly@example.org\n"
        "otto,Otto,new@example.org\n"
        "olga,Olga,olga@example.org\n"
        "paul,Paul,nobody\n"
        "holly,Holly Again,h@example.org\n"
    )

    told = (await send_csv(ada, text, dry_run=True)).json()
    people = (await ada.get(PEOPLE)).json()["items"]
    done = (await send_csv(ada, text)).json()

    assert [(one["key"], one["what"]) for one in told["lines"]] == [
        ("holly", "created"),
        ("otto", "updated"),
        ("olga", "unchanged"),
    ]
    assert told["lines"][1]["changes"] == [
        {"field": "email", "old": "old@example.org", "new": "new@example.org"}
    ]
    assert [(one["line"], one["field"], one["reason"]) for one in told["refused"]] == [
        (5, "email", "this is no e-mail address"),
        (6, "login", "the same stands in line 2 already"),
    ]
    assert {person["login"] for person in people} == {"otto", "olga", "ada"}
    assert {**done, "lines": told["lines"]} == told


async def test_a_long_file_is_taken_in_whole(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    lines = [f"p{n},Person {n}" for n in range(1_100)]

    done = (await send_csv(ada, "login,name\n" + "\n".join(lines))).json()

    assert done["created"] == 1_100
    assert (await ada.get(PEOPLE, params={"search": "p1099"})).json()["items"][0]["active"]


async def test_people_are_found_by_role_and_by_whether_they_are_active(sign_in, register):
    await register("otto", Role.OPERATOR, Role.HOLDER)
    await register("gone", Role.OPERATOR, active=False)
    ada = await sign_in("ada", Role.ADMIN)

    operators = await ada.get(PEOPLE, params={"role": "operator"})
    active = await ada.get(PEOPLE, params={"role": "operator", "active": True})

    assert {person["login"] for person in operators.json()["items"]} == {"otto", "gone"}
    assert [person["login"] for person in active.json()["items"]] == ["otto"]


async def test_an_administrator_sees_and_ends_the_sign_ins_of_others(sign_in):
    ada, holly = await sign_in("ada", Role.ADMIN), await sign_in("holly")
    path = f"{PEOPLE}/{holly.headers['X-Person']}/sign-ins"

    before = (await ada.get(path)).json()["items"]
    ended = await ada.delete(path)

    assert len(before) == 1
    assert ended.status_code == 204
    assert (await ada.get(path)).json()["items"] == []
    assert (await holly.get("/api/v1/me")).status_code == 401


async def test_only_administrators_see_sign_ins_and_only_of_people_who_are_there(sign_in):
    ada, olga = await sign_in("ada", Role.ADMIN), await sign_in("olga", Role.OPERATOR)
    path = f"{PEOPLE}/{ada.headers['X-Person']}/sign-ins"

    assert (await olga.get(path)).status_code == 403
    assert (await olga.delete(path)).status_code == 403
    for method in ("GET", "DELETE"):
        answer = await ada.request(method, f"{PEOPLE}/{UNKNOWN}/sign-ins")
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"login\nholly\n", "the column name is missing"),
        (b"login,name,shoe_size\n", "there is no column shoe_size"),
        (b"login,name,name\n", "stands there twice"),
        (b"login,name\n\xff\xfe,x\n", "not UTF-8"),
        (b'login,name\n"holly,Holly\n', "is not CSV"),
        (b"", "the column login is missing"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_as_a_whole(sign_in, content, reason):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await send_csv(ada, content)

    assert answer.status_code == 422
    assert reason in reasons(answer)[0]


async def test_a_file_with_too_many_lines_is_to_be_sent_in_parts(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await send_csv(ada, "login,name\n" + "a,A\n" * 20_000)

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "body")
    assert error["reason"] == "more than 20,000 lines"
    assert error["remedy"] == "send the file in parts"
    assert (await ada.get(PEOPLE)).json()["items"][0]["login"] == "ada"


async def test_a_file_of_another_kind_is_not_taken(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await send_csv(ada, "{}", **{"Content-Type": "application/json"})

    assert answer.status_code == 415


async def test_a_file_that_is_too_large_is_refused_while_it_comes(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    line = "x" * 200_000 + "\n"

    async def endless():
        for _ in range(40):
            yield line.encode()

    announced = await send_csv(ada, line * 40)
    streamed = await send_csv(ada, endless())

    for answer in (announced, streamed):
        assert answer.status_code == 413
        assert reasons(answer)


async def test_a_second_account_is_linked_on_the_persons_page_by_the_login_of_the_first(sign_in):
    ada, second = await sign_in("ada", Role.ADMIN), await sign_in("holly-admin")
    first = await sign_in("holly")
    page = f"/people/{second.headers['X-Person']}"

    wrong = await ada.post(f"{page}/same-as", data={"login": "nobody-here"})
    done = await ada.post(f"{page}/same-as", data={"login": "holly"})
    shown = await ada.get(f"{page}/edit")
    undone = await ada.post(f"{page}/same-as", data={"login": ""})

    assert wrong.status_code == 422
    assert "nobody has this login" in wrong.text
    assert 'value="nobody-here"' in wrong.text
    assert (done.status_code, undone.status_code) == (303, 303)
    assert f'<a href="/people/{first.headers["X-Person"]}/edit">Holly</a>' in shown.text
    assert (await ada.get(f"/api/v1{page}")).json()["same_as"] is None
