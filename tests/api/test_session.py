"""Signing in, staying signed in, and leaving."""

from datetime import timedelta

from sqlalchemy import update

from cardflow.db.tables import Session
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.conftest import PASSWORD

NEW = "another long password"


async def test_a_person_signs_in_and_is_told_who_they_are(anonymous, register):
    await register("holly")

    answer = await anonymous.post("/api/v1/session", json={"login": "holly", "password": PASSWORD})

    assert answer.status_code == 201
    assert answer.json()["token"].startswith("cfs_")
    me = await anonymous.get("/api/v1/me")
    assert me.json()["login"] == "holly"
    assert "password_hash" not in me.json()


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(anonymous, register):
    await register("holly")

    answer = await anonymous.post("/api/v1/session", json={"login": "holly", "password": PASSWORD})

    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
