"""How often somebody may guess: counted per account and per address, in this process's memory."""

import time
from collections import OrderedDict

from api.problems import Problem

WINDOW_SECONDS = 300.0
PER_ACCOUNT_AND_ADDRESS = 5
PER_ACCOUNT = 30
PER_ADDRESS = 60
MOST_KEYS = 10_000


class Guesses:
    """The tries of the last minutes; one that succeeds is taken back."""

    def __init__(self) -> None:
        self._tries: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def count(self, login: str, address: str) -> None:
        """Count a try before it is judged, or raise Problem 429 when too many failed lately.

        Counting afterwards would let as many pass at once as arrive at once.
        """
        limits = _limits(login, address)
        if (wait := max(self._wait(key, most) for key, most in limits)) > 0:
            headers = {"Retry-After": str(int(wait) + 1)}
            detail = f"too many failed sign-ins; try again in {int(wait) // 60 + 1} minutes"
            raise Problem(429, detail, headers=headers)
        for key, _most in limits:
            self._tries.setdefault(key, []).append(time.monotonic())
            self._tries.move_to_end(key)
        while len(self._tries) > MOST_KEYS:
            self._tries.popitem(last=False)

    def succeeded(self, login: str, address: str) -> None:
        """Take the try back, and forget this account's failures from this address."""
        self._tries.pop((login, address), None)
        for key in ((login, ""), ("", address)):
            if tries := self._tries.get(key):
                tries.pop()

    def take_back(self, login: str, address: str) -> None:
        """Take back a try that guessed nothing; failures before it still count."""
        for key, _most in _limits(login, address):
            if tries := self._tries.get(key):
                tries.pop()

    def _wait(self, key: tuple[str, str], most: int) -> float:
        now = time.monotonic()
        recent = [at for at in self._tries.get(key, ()) if now - at < WINDOW_SECONDS]
        if key in self._tries:
            self._tries[key] = recent
        return WINDOW_SECONDS - (now - recent[-most]) if len(recent) >= most else 0


def _limits(login: str, address: str) -> list[tuple[tuple[str, str], int]]:
    return [
        ((login, address), PER_ACCOUNT_AND_ADDRESS),
        ((login, ""), PER_ACCOUNT),
        (("", address), PER_ADDRESS),
    ]
