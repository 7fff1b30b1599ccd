"""How a request is taken: who asks is settled before the first byte of a body is read.

``GuardedRoute`` does that. ``OnceRoute`` adds the memory of Idempotency-Key for routes whose whole
effect is in the database: the effect and the answer are committed together.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from json import JSONDecodeError
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.convertors import Convertor, StringConvertor, register_url_convertor

from api.auth import Requirement, signed_in
from api.idempotency import Attempt, declare_key, given_key
from api.state import state_of
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.policy_toml import ADDRESSES
from cardflow.sql import looking
from cardflow.sql import transaction as committed
from cardflow.wire import parsed

Take = Callable[[Request], Coroutine[Any, Any, Response]]


def requirements(dependant: Dependant) -> Iterator[Requirement]:
    """Yield the permissions that a route declares."""
    if isinstance(dependant.call, Requirement):
        yield dependant.call
    for inner in dependant.dependencies:
        yield from requirements(inner)


class ReadOneWay(Request):
    """A request whose JSON could not be read by another program as something else."""

    async def json(self) -> Any:
        """Return what the body says; what is refused is told as any JSON that is none."""
        try:
            return parsed(await self.body())
        except Refused:
            reason = "it is not JSON, or a name stands in an object twice"
            raise JSONDecodeError(reason, "", 0) from None


class IdConvertor(Convertor[str]):
    """The ids in addresses: ``/cards/import`` is no card."""

    regex = "[0-9a-fA-F-]+"

    def convert(self, value: str) -> str:
        """Return the id."""
        return value

    def to_string(self, value: str) -> str:
        """Return the id."""
        return value


class PolicyConvertor(StringConvertor):
    """The names of policies in addresses that also have words of their own."""

    regex = f"(?!({'|'.join(ADDRESSES)})$)[^/]+"


register_url_convertor("id", IdConvertor())
register_url_convertor("policy", PolicyConvertor())


class GuardedRoute(APIRoute):
    """A route that turns a stranger away before it reads what they send."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if "POST" in (options.get("methods") or ()):
            given = options.get("dependencies") or ()
            options["dependencies"] = [*given, Depends(declare_key)]
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Take:
        """Return the route's handler behind its guard."""
        return self._guarded(super().get_route_handler())

    def _guarded(self, take: Take) -> Take:
        async def guarded(request: Request) -> Response:
            request = ReadOneWay(request.scope, request.receive)
            await self.check(request)
            return await take(request)

        return guarded

    async def check(self, request: Request) -> None:
        """Raise Problem unless whoever asks may have this route."""
        for requirement in requirements(self.dependant):
            requirement(await signed_in(request), state_of(request).settings)


class OnceRoute(GuardedRoute):
    """A guarded route that answers a repeated POST as it answered the first."""

    def get_route_handler(self) -> Take:
        """Return the route's handler behind its guard and its memory."""
        take = APIRoute.get_route_handler(self)

        async def once(request: Request) -> Response:
            key = given_key(request) if request.method == "POST" else None
            if key is None:
                return await take(request)
            attempt = Attempt(state_of(request), await signed_in(request), key)
            return await attempt.answer(request, take)

        return self._guarded(once)


async def transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield the request's transaction; it is committed before the answer leaves."""
    kept = getattr(request.state, "transaction", None)
    if isinstance(kept, AsyncSession):
        yield kept
        return
    with effect("api.commit"):
        async with committed(state_of(request).sessions) as session:
            yield session


async def reading(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield a transaction for looking only: on SQLite it waits for no writer."""
    async with looking(state_of(request).reads) as session:
        yield session


Reading = Annotated[AsyncSession, Depends(reading, scope="function")]
Transaction = Annotated[AsyncSession, Depends(transaction, scope="function")]
