"""The two servers that tests run on, and the one that `cardflow up` starts."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from cardflow.temporal.search_attributes import STAGE

QUEUE = "servers"


@workflow.defn(sandboxed=False)
class Patient:
    """Waits up to thirty days for three words, and reminds itself every second day."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.reminders = 0

    @workflow.run
    async def run(self) -> list[str]:
        workflow.upsert_search_attributes([STAGE.value_set("pending")])
        reminding = asyncio.create_task(self._remind())
        try:
            await workflow.wait_condition(lambda: len(self.words) > 2, timeout=timedelta(days=30))
        except TimeoutError:
            self.words.append("lapsed")
        reminding.cancel()
        return [*self.words, str(self.reminders)]

    async def _remind(self) -> None:
        while True:
            await workflow.sleep(timedelta(days=2))
            self.reminders += 1

    @workflow.update
    def say(self, word: str) -> int:
        self.words.append(word)
        return len(self.words)


async def test_thirty_days_of_silence_pass_at_once(
    fresh_skipping_env: WorkflowEnvironment,
) -> None:
    async with Worker(fresh_skipping_env.client, task_queue=QUEUE, workflows=[Patient]):
        handle = await fresh_skipping_env.client.start_workflow(
            Patient.run, id="silence", task_queue=QUEUE
        )

        assert await handle.result() == ["lapsed", "14"]


async def test_time_stands_still_between_updates_unless_a_test_moves_it(
    fresh_skipping_env: WorkflowEnvironment,
) -> None:
    async with Worker(fresh_skipping_env.client, task_queue=QUEUE, workflows=[Patient]):
        handle = await fresh_skipping_env.client.start_workflow(
            Patient.run, id="updates", task_queue=QUEUE
        )
        for number, word in enumerate(("one", "two", "three"), start=1):
            await fresh_skipping_env.sleep(timedelta(days=5))
            assert await handle.execute_update(Patient.say, word) == number

        assert await handle.result() == ["one", "two", "three", "7"]


@pytest.mark.temporal
async def test_the_real_server_knows_our_attributes_and_stores_no_plaintext(
    temporal_env: WorkflowEnvironment,
) -> None:
    async with Worker(temporal_env.client, task_queue=QUEUE, workflows=[Patient]):
        handle = await temporal_env.client.start_workflow(Patient.run, id="real", task_queue=QUEUE)
        for word in ("Ada", "Grace", "Hedy"):
            await handle.execute_update(Patient.say, word)
        result = await handle.result()
        history = (await handle.fetch_history()).to_json()

    assert result == ["Ada", "Grace", "Hedy", "0"]
    assert (await handle.describe()).typed_search_attributes[STAGE] == "pending"
    assert "QWRh" not in history  # base64 of Ada
    assert "Ada" not in history
