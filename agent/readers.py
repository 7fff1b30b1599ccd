"""What is in the readers of this workstation, kept up to date while no visit needs the card."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from agent.children import Child
from agent.settings import ModuleSetting
from cardflow.errors import Refused
from cardflow.jobs import TokenReport
from cardflow.wire import from_json, to_json

LOOK_EVERY_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
RESTART_AFTER_SECONDS = 10.0

log = logging.getLogger(__name__)


class Readers:
    """The modules of the settings, in their order; the first one that shows a card drives it."""

    def __init__(self, modules: Iterable[ModuleSetting]) -> None:
        self._watches = [_Watch(module) for module in modules]
        self._card_is_free = asyncio.Lock()  # two processes at one card take each other's login
        self._was_used = False
        self.changed = asyncio.Event()
        self.tokens: tuple[TokenReport, ...] = ()

    async def watch(self) -> None:
        """Look once a second, for ever."""
        while True:
            await self.look(thorough=False)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def look(self, *, thorough: bool) -> None:
        """Leave ``tokens`` as what is in the readers now."""
        async with self._card_is_free:
            thorough = thorough or self._was_used  # asked here: a visit may have ended meanwhile
            self._was_used = False
            seen = [await watch.look(thorough=thorough) for watch in self._watches]
        tokens = _one_per_serial(report for reports in seen for report in reports)
        if tokens != self.tokens:
            self.tokens = tokens
            self.changed.set()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Leave the cards alone inside; afterwards they are looked at thoroughly."""
        async with self._card_is_free:
            self._was_used = True
            yield

    def module_with(self, token_serial: str) -> ModuleSetting | None:
        """Return the module that shows the card, if one does."""
        for token in self.tokens:
            if token.token_serial == token_serial:
                return next(w.module for w in self._watches if w.module.name == token.module)
        return None

    async def close(self) -> None:
        """End the watching processes."""
        for watch in self._watches:
            await watch.close()


class _Watch:
    """One module, watched by a process that is started again when it hangs or dies."""

    def __init__(self, module: ModuleSetting) -> None:
        self.module = module
        self._child: Child | None = None
        self._not_before = 0.0

    async def look(self, *, thorough: bool) -> tuple[TokenReport, ...]:
        """Return what the module shows; nothing while it cannot be watched."""
        loop = asyncio.get_running_loop()
        if self._child is None and loop.time() < self._not_before:
            return ()
        try:
            if self._child is None:
                self._child = await Child.start("agent.inspector", to_json(self.module))
            await self._child.send({"thorough": thorough})
            message = await self._child.receive(PATIENCE_SECONDS)
            return from_json(tuple[TokenReport, ...], message.get("tokens"))
        except (TimeoutError, EOFError, ValueError, OSError, Refused) as error:
            log.warning("module %s cannot be watched: %s", self.module.name, type(error).__name__)
            self._not_before = loop.time() + RESTART_AFTER_SECONDS
            await self.close()
            return ()

    async def close(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()  # it only reads
            await child.end(PATIENCE_SECONDS)


def _one_per_serial(reports: Iterable[TokenReport]) -> tuple[TokenReport, ...]:
    """Keep one report per card; the one that can be worked with, else the first."""
    kept: dict[str, TokenReport] = {}
    for report in reports:
        before = kept.get(report.token_serial)
        if before is None or (before.unsupported and not report.unsupported):
            kept[report.token_serial] = report
    return tuple(kept.values())
