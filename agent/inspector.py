"""Watching the readers of one module, without a PIN: a process of its own, as modules demand.

It answers one question at a time: what is in the slots now. Waiting for a slot event instead is not
possible: python-pkcs11 0.10.1 raises TypeError whenever one arrives.
"""

import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass

from pkcs11 import PKCS11Error, Token

from agent.drivers import CardFailure, Module, TokenFacts, inventory, unsupported
from agent.drivers.failures import named
from agent.messages import Channel
from cardflow.jobs import Inventory, TokenReport
from cardflow.wire import from_json, to_json

RESTART_EVERY = 5  # looks; modules notice a new token only when they start
READ_EVERY = 30


@dataclass(frozen=True)
class Watched:
    """The module to watch, as this workstation's own settings name it."""

    name: str
    path: str


class Inspector:
    """Looks at the slots of one module; reads a card's contents when there is reason to."""

    def __init__(self, watched: Watched) -> None:
        self._name = watched.name
        self._module = Module(watched.path)
        self._looks = 0
        self._seen: list[TokenFacts] = []
        self._reports: tuple[TokenReport, ...] = ()

    def look(self, *, thorough: bool) -> tuple[TokenReport, ...]:
        """Return what is in the readers; contents are read again on change, or when asked."""
        self._looks += 1
        if thorough or self._looks % RESTART_EVERY == 0:
            self._module.restart()
        found = list(self._module.tokens())
        facts = [each for _, each in found]
        if thorough or facts != self._seen or self._looks % READ_EVERY == 0:
            self._reports = tuple(self._report(token, each) for token, each in found)
            self._seen = facts
        return self._reports

    def _report(self, token: Token, facts: TokenFacts) -> TokenReport:
        reason = unsupported(facts)
        try:
            contents = _contents(token)
        except CardFailure as failure:
            contents, reason = Inventory(), reason or str(failure)
        return TokenReport(
            token_serial=facts.serial,
            token_label=facts.label,
            manufacturer=facts.manufacturer,
            model=facts.model,
            reader=facts.reader,
            module=self._name,
            flags=facts.flags,
            unsupported=reason,
            inventory=contents,
        )


def _contents(token: Token) -> Inventory:
    with named():
        session = token.open()
        try:
            return inventory(session, logged_in=False)
        finally:
            with suppress(PKCS11Error):
                session.close()


def serve(channel: Channel) -> None:
    """Answer each look until the line closes."""
    inspector = Inspector(from_json(Watched, channel.receive(None)))
    while (question := channel.receive(None)) is not None:
        reports = inspector.look(thorough=question.get("thorough") is True)
        channel.send({"tokens": to_json(reports)})


def main() -> None:
    """Serve the line whose descriptor is the only argument; a stop of the agent closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError, ConnectionResetError):
        serve(Channel(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
