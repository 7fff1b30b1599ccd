"""The update as workers of other versions run it: with one more step, guarded or not."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from cardflow.model import Stage, UpdateInput
from workflows.card_update import CardUpdate
from workflows.changes import goes_new_way

A_MOMENT = timedelta(milliseconds=1)


class Slower(CardUpdate):
    """Takes a moment before it opens and before it closes."""

    announced = False

    async def _open(self) -> None:
        if goes_new_way("a-moment-before-the-opening", announced=self.announced):
            await workflow.sleep(A_MOMENT)
        await super()._open()

    async def _close(self) -> None:
        if goes_new_way("a-moment-before-the-end", announced=self.announced):
            await workflow.sleep(A_MOMENT)
        await super()._close()


@workflow.defn(name="CardUpdate")
class Announcing(Slower):
    """The older release: follows the new way where somebody began it."""

    announced = True

    @workflow.init
    def __init__(self, update: UpdateInput) -> None:
        super().__init__(update)

    @workflow.run
    async def run(self, update: UpdateInput) -> Stage:
        """Return how the update ended."""
        return await super().run(update)


@workflow.defn(name="CardUpdate")
class Guarded(Slower):
    """The newer release: begins the new way, behind a patch."""

    @workflow.init
    def __init__(self, update: UpdateInput) -> None:
        super().__init__(update)

    @workflow.run
    async def run(self, update: UpdateInput) -> Stage:
        """Return how the update ended."""
        return await super().run(update)


@workflow.defn(name="CardUpdate")
class Unguarded(CardUpdate):
    """Does the same without a patch: what must not be deployed."""

    @workflow.init
    def __init__(self, update: UpdateInput) -> None:
        super().__init__(update)

    @workflow.run
    async def run(self, update: UpdateInput) -> Stage:
        """Return how the update ended."""
        return await super().run(update)

    async def _open(self) -> None:
        await workflow.sleep(A_MOMENT)
        await super()._open()
