"""Whether the process lives, can work, and how it does."""

from functools import partial

import pytest
from sqlalchemy import text

from api.app import create_app
from api.state import opened
from cardflow.model import new_id
from cardflow.settings import Settings
from tests.api.conftest import client_of, reasons
from tests.waiting import until


async def test_a_process_that_answers_is_alive(anonymous):
    assert (await anonymous.get("/healthz")).json() == {"status": "ok"}


async def test_without_temporal_the_api_starts_and_says_what_is_missing(settings: Settings):
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_of(app) as client:
        alive, probe = await client.get("/healthz"), await client.get("/readyz")

    assert alive.status_code == 200
    assert probe.status_code == 503
    assert [error["field"] for error in probe.json()["errors"]] == ["temporal"]


async def ready(client):
    """Return the first good answer: a server that has just started may take longer than a probe."""
    look = partial(client.get, "/readyz")
    return await until(look, lambda answer: answer.is_success, what="everything is there")


@pytest.mark.temporal
async def test_with_everything_there_the_api_is_ready(settings: Settings, temporal_env):
    app = create_app(settings, lambda given: opened(given, temporal_env.client))
    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await ready(client)

    assert answer.json() == {"status": "ok"}


@pytest.mark.temporal
async def test_a_database_of_another_revision_is_named(settings: Settings, temporal_env):
    app = create_app(settings, lambda given: opened(given, temporal_env.client))
    async with app.router.lifespan_context(app), client_of(app) as client:
        await ready(client)
        async with app.state.cardflow.engine.begin() as connection:
            await connection.execute(text("DELETE FROM alembic_version"))
        answer = await client.get("/readyz")

    assert answer.status_code == 503
    assert "revision" in reasons(answer)[0]


async def test_metrics_are_served_for_prometheus(anonymous):
    answer = await anonymous.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert "cardflow_http_requests_total" in answer.text


async def test_requests_are_counted_by_operation_and_never_by_address(anonymous):
    somebody = new_id()
    await anonymous.get(f"/api/v1/people/{somebody}")

    told = (await anonymous.get("/metrics")).text

    assert 'operation="show_person"' in told
    assert somebody not in told
