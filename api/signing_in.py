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
    """Failed sign-ins of the last minutes; success forgets those of that account and address."""

    def __init__(self) -> None:
        self._failed: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def check(self, login: str, address: str) -> None:
        """Raise Problem 429 when too many tries failed lately."""
        waits = [self._wait(key, most) for key, most in _limits(login, address)]
        if (wait := max(waits)) > 0:
            headers = {"Retry-After": str(int(wait) + 1)}
            detail = f"too many failed sign-ins; try again in {int(wait) // 60 + 1} minutes"
            raise Problem(429, detail, headers=headers)

    def failed(self, login: str, address: str) -> None:
        """Count one failure."""
        for key, _most in _limits(login, address):
            self._failed.setdefault(key, []).append(time.monotonic())
            self._failed.move_to_end(key)
        while len(self._failed) > MOST_KEYS:
            self._failed.popitem(last=False)

    def succeeded(self, login: str, address: str) -> None:
        """Forget this account's failures from this address."""
        self._failed.pop((login, address), None)

    def _wait(self, key: tuple[str, str], most: int) -> float:
        now = time.monotonic()
        recent = [at for at in self._failed.get(key, ()) if now - at < WINDOW_SECONDS]
        if key in self._failed:
            self._failed[key] = recent
        return WINDOW_SECONDS - (now - recent[-most]) if len(recent) >= most else 0


def _limits(login: str, address: str) -> list[tuple[tuple[str, str], int]]:
    return [
        ((login, address), PER_ACCOUNT_AND_ADDRESS),
        ((login, ""), PER_ACCOUNT),
        (("", address), PER_ADDRESS),
    ]
