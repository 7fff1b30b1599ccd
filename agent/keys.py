"""The keys of an enrolled workstation, and how each is followed by another."""

import asyncio
import logging
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.door import Answer, Door
from agent.settings import Enrolment, StateDir
from cardflow.device_keys import new_device_key
from cardflow.errors import Refused, Unavailable
from cardflow.job_keys import JobKeys, followed, raw_hex
from cardflow.wire import from_json, to_json

STRANGE = 401

log = logging.getLogger(__name__)


class Keys:
    """The device key in its file, and the pinned key of the server."""

    def __init__(self, state: StateDir, door: Door, enrolment: Enrolment) -> None:
        self._state = state
        self._door = door
        self._in_use = raw_hex(state.device_key())
        self._renewing = asyncio.Lock()
        self.enrolment = enrolment

    async def follow_job_key(self) -> bool:
        """Pin the key that the pinned one has named in its place; False when it named none."""
        answer = await self._door.send("GET", "/agent/v1/job-keys")
        if not answer.ok:
            raise Unavailable(
                f"the server does not say how its job key has changed: {answer.detail}"
            )
        known = from_json(JobKeys, answer.body)
        pinned = self.enrolment.job_key
        new = followed(pinned, known.successions, self.enrolment.issuer)
        if new == pinned:
            return False
        self.enrolment = replace(self.enrolment, job_key=new)
        self._state.keep(self.enrolment)
        log.warning("the server's job key has changed, as the key before it says")
        return True

    async def renew(self) -> None:
        """Leave a new device key in place of the old one, here and at the server.

        1. The new key is on disk before it is told: an answer that is lost loses nothing.
        2. The server takes it. Asked again after it has, it knows the new key only.
        3. The new key takes the old one's place on disk.
        """
        key = self._state.next_device_key()
        answer = await self._tell(key)
        if answer.status == STRANGE:
            old = self._state.device_key()
            self._door.sign_with(key)
            answer = await self._tell(key)
            if not answer.ok:
                self._door.sign_with(old)
        if not answer.ok:
            raise Refused(f"the server took no new device key: {answer.detail}")
        self._state.settle_on_next_key()
        self._door.sign_with(key)
        self._in_use = raw_hex(key)
        log.info("the workstation has a new device key")

    async def _tell(self, key: Ed25519PrivateKey) -> Answer:
        said = to_json(new_device_key(key, self.enrolment.agent_id))
        return await self._door.send("POST", "/agent/v1/device-key", said)

    async def try_to_renew(self) -> bool:
        """Renew the device key, once for all who notice that it is due; False when it failed."""
        before = self._in_use
        async with self._renewing:
            if self._in_use != before:
                return True
            try:
                await self.renew()
            except (Unavailable, Refused) as error:
                log.warning("the device key is changed later: %s", error)
                return False
        return True

    async def finish_renewal(self) -> bool:
        """Complete a change of the device key that was interrupted; False when there is none.

        The server may have taken the new key and its answer been lost: it then knows no other.
        """
        return self._state.next_key_file.exists() and await self.try_to_renew()

    def changed_on_disk(self) -> bool:
        """Take up a device key that another process has put in place; False when there is none."""
        key = self._state.device_key()
        if raw_hex(key) == self._in_use:
            return False
        self._door.sign_with(key)
        self._in_use = raw_hex(key)
        return True
