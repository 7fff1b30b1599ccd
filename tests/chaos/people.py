"""People who ask until they are answered, and what they were told: the ledger the oracle checks."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import httpx2

from api.idempotency import NAMESPACE
from api.problems import CLASH
from cardflow.model import new_id

PREFIX = "/api/v1"
PATIENCE = 60
REPEATED = 0.25  # of what was answered is said again, word for word


@dataclass(frozen=True)
class Acknowledged:
    """Something that somebody did and was told that it counts."""

    what: str  # the last part of the address: updates, continue, documents, decisions, cancel
    update_id: str
    action_id: str
    answer: Mapping[str, Any]


@dataclass
class Ledger:
    """What an update's people were told, in order; ``chance`` picks what they say again."""

    chance: Random
    said: list[Acknowledged] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)  # repeats that were answered otherwise
    later: list[Callable[[], Awaitable[None]]] = field(default_factory=list)  # at the end

    async def say_again(self) -> None:
        """Repeat some of what was said, now that the update is over."""
        while self.later:
            await self.later.pop(0)()


class Answered(Exception):
    """A final no; ``status`` and ``text`` say which."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.request.url.path}: {response.status_code} {response.text}")
        self.status, self.text = response.status_code, response.text


@dataclass
class Person:
    """Somebody with a browser and patience: what is not answered is asked again, by its key."""

    id: str
    client: httpx2.AsyncClient

    async def get(self, path: str) -> Any:
        """Return what is there."""
        return (await self._asked("GET", path)).json()

    async def content(self, path: str) -> bytes:
        """Return the bytes there."""
        return (await self._asked("GET", path)).content

    async def patch(self, path: str, body: Any) -> Any:
        """Return the answer after the change."""
        return (await self._asked("PATCH", path, json=body)).json()

    async def post(self, path: str, ledger: Ledger | None = None, **content: Any) -> Any:
        """Return the answer, once there is one; some are asked for again, at once or at the end."""
        key = new_id()
        content.setdefault("json", {}) if not content else None
        answer = (await self._asked("POST", path, key, **content)).json()
        if ledger is not None:
            what, update_id = _about(path, answer)
            action = str(uuid.uuid5(NAMESPACE, f"{self.id}\n{key}"))
            ledger.said.append(Acknowledged(what, update_id, action, answer))
            at_once, at_the_end = (ledger.chance.random() < REPEATED for _ in range(2))
            if at_the_end:
                ledger.later.append(partial(self._again, path, key, answer, ledger, content))
            if at_once:
                await self._again(path, key, answer, ledger, content)
        return answer

    async def try_once(self, path: str, body: Any) -> None:
        """Ask until there is an answer, whatever it says."""
        with suppress(Answered):
            await self._asked("POST", path, new_id(), json=body, final=(503,))

    async def _again(
        self, path: str, key: str, before: Any, ledger: Ledger, content: dict[str, Any]
    ) -> None:
        try:
            again = (await self._asked("POST", path, key, **content)).json()
        except Answered as no:
            ledger.differing.append(f"I11: a repeat was refused: {no}")
            return
        first, second = _names(before), _names(again)
        if first != second or not any(first):
            ledger.differing.append(f"I11: {path}: a repeat was answered {second}, not {first}")

    async def _asked(
        self,
        method: str,
        path: str,
        key: str = "",
        final: Container[int] = (),
        **content: Any,
    ) -> httpx2.Response:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        headers = {"Idempotency-Key": key, **content.pop("headers", {})} if key else {}
        while True:
            try:
                response = await self.client.request(
                    method, PREFIX + path, headers=headers, **content
                )
            except httpx2.TransportError as error:
                trouble = repr(error)
            else:
                if response.is_success:
                    return response
                may_change = response.is_server_error or CLASH in response.text
                if not may_change or response.status_code in final:
                    raise Answered(response)
                trouble = f"{response.status_code} {response.text}"
            assert loop.time() < until, f"{method} {path}: not answered: {trouble}"
            await asyncio.sleep(0.1)


def _names(answer: Any) -> tuple[str, str, str]:
    """Return the ids in an answer: of what was made, of the action, and of the visit it began.

    An opening that is repeated tells of the visit that is under way by then.
    """
    visit = answer.get("visit") if "reply" in answer else None
    action = answer.get("reply", answer).get("action_id", "")
    return answer.get("id", ""), action, visit["id"] if visit else ""


def _about(path: str, answer: Any) -> tuple[str, str]:
    parts = path.strip("/").split("/")
    if parts[0] == "cards":
        return parts[-1], str(answer.get("id", ""))
    if parts[0] == "ca":
        return "ca_decisions", parts[2].partition(":")[0]
    return parts[-1], parts[1]
