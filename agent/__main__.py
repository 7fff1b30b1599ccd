"""``python -m agent``: enrol this workstation, run its agent, or tell how it stands."""

import argparse
import asyncio
import getpass
import logging
import signal
import sys
from pathlib import Path

from agent import VERSION
from agent.connection import Connection
from agent.door import Door
from agent.enrol import enrol, words_of
from agent.keys import Keys
from agent.messages import Surroundings
from agent.readers import Readers
from agent.settings import StateDir
from agent.visits import Visits
from cardflow.errors import CardflowError


async def run(state: StateDir) -> None:
    """Serve the cards of this workstation until SIGTERM or SIGINT."""
    settings, enrolment = state.settings(), state.enrolment()
    if settings.log_level != "info":
        for name in (None, "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(settings.log_level.upper())

    def surroundings(module_path: str) -> Surroundings:
        return Surroundings(
            module_path=module_path,
            server=enrolment.server,
            pinentry=settings.pinentry,
            prompt_seconds=settings.prompt_seconds,
            journal=str(state.journal_file.absolute()),
        )

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = state.device_key()
    async with Door(enrolment.server, state.root_file, key, enrolment.agent_id) as door:
        readers, keys = Readers(settings.modules), Keys(state, door, enrolment)
        connection = Connection(door, keys, readers, Visits(), surroundings)
        await connection.run(stop)


async def renew_key(state: StateDir) -> None:
    """Have the server take a new device key; an agent that runs goes on with it."""
    enrolment, key = state.enrolment(), state.device_key()
    async with Door(enrolment.server, state.root_file, key, enrolment.agent_id) as door:
        await Keys(state, door, enrolment).renew()
    say(f"This workstation has a new device key. Its six words are now:\n\n    {words_of(state)}\n")


async def tell_status(state: StateDir) -> None:
    """Print who this agent is and what is in the readers."""
    settings, enrolment = state.settings(), state.enrolment()
    say(f"server   {enrolment.server}\nagent    {enrolment.agent_id}\nwords    {words_of(state)}")
    readers = Readers(settings.modules)
    try:
        await readers.look(thorough=True)
    finally:
        await readers.close()
    for token in readers.tokens:
        note = token.unsupported or f"{len(token.inventory.certificates)} certificates"
        say(f"card     {token.token_label} ({token.token_serial}), {token.module}: {note}")
    if not readers.tokens:
        say("card     none")


async def make_known(state: StateDir, arguments: argparse.Namespace) -> None:
    """Enrol and print what a person has to compare."""
    if arguments.anew:
        state.forget()
    words = await enrol(
        state, server=arguments.server, root_file=arguments.ca_file, code=_code(arguments.code_file)
    )
    say("Enrolled. Confirm this agent in the portal; it must show these six words:")
    say(f"\n    {words}\n")


def _code(file: Path | None) -> str:
    """Return the one-time code; never from the command line, which others can read."""
    if file is None:
        return getpass.getpass("Enrolment code: ")
    return sys.stdin.readline() if str(file) == "-" else file.read_text()


def say(text: str) -> None:
    """Print for the person at the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m agent", description=__doc__)
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("enrol", "make this workstation known to a server"),
        ("run", "serve the cards of this workstation"),
        ("renew-key", "make a new device key; the old one counts no more"),
        ("status", "tell who this agent is and what is in the readers"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("--state", type=Path, required=True, help="the agent's own directory")
    enrolling = commands.choices["enrol"]
    enrolling.add_argument("--server", required=True, help="e.g. https://cards.example:8443")
    enrolling.add_argument("--ca-file", type=Path, required=True, help="the TLS root to pin, PEM")
    enrolling.add_argument("--code-file", type=Path, help="has the code in it; - is standard input")
    enrolling.add_argument("--anew", action="store_true", help="forget an older enrolment first")
    return parser.parse_args()


def main() -> int:
    """Carry out one command; an expected failure is one line that says what helps."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    logging.getLogger("httpcore2").setLevel(logging.WARNING)
    state = StateDir(arguments.state.absolute())
    try:
        match arguments.command:
            case "enrol":
                asyncio.run(make_known(state, arguments))
            case "run":
                asyncio.run(run(state))
            case "renew-key":
                asyncio.run(renew_key(state))
            case _:
                asyncio.run(tell_status(state))
    except (CardflowError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
