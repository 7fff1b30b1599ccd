"""What the API opens at the first question, so that it can start, and complain, without it."""

import asyncio
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from cardflow.ca.embedded.authority import EmbeddedCA
from cardflow.errors import Refused, Unavailable
from cardflow.model import Profile
from cardflow.settings import Settings
from cardflow.temporal.client import connect

PATIENCE_SECONDS = 5


class TemporalLink:
    """The connection to Temporal."""

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self._settings = settings
        self._client = client
        self._lock = asyncio.Lock()

    async def client(self) -> Client:
        """Return the connected client, or raise Unavailable."""
        async with self._lock:
            if self._client is None:
                self._client = await self._connected()
            return self._client

    async def _connected(self) -> Client:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await connect(self._settings)
        except TimeoutError as error:
            raise Unavailable("Temporal does not answer in time; is it running?") from error


class AuthorityLink:
    """The embedded CA without its issuing key: the API takes decisions and never signs."""

    def __init__(self, open_authority: Callable[[], EmbeddedCA]) -> None:
        self._open = open_authority
        self._authority: EmbeddedCA | None = None

    def authority(self) -> EmbeddedCA:
        """Return the CA, or raise Unavailable while it has not been made."""
        if self._authority is None:
            try:
                self._authority = self._open()
            except Refused as error:
                raise Unavailable(f"the embedded CA cannot be opened: {error}") from error
        return self._authority

    def close(self) -> None:
        """End what the CA runs in the background."""
        if self._authority:
            self._authority.close()


def embedded_ca(
    settings: Settings, engine: AsyncEngine, profiles: dict[str, Profile], decision_root: str
) -> AuthorityLink:
    """Return the link to the CA in the directory that settings name."""
    return AuthorityLink(
        lambda: EmbeddedCA(
            engine,
            settings.ca_dir,
            profiles,
            public_url=settings.public_url,
            decision_root=decision_root,
        )
    )
