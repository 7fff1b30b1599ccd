"""A workstation of the world: a holder, an agent, a card in a SoftHSM token of its own."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from agent.enrol import enrol
from agent.settings import StateDir
from cardflow.settings import Settings
from cli.demo_card import DemoCard
from tests.chaos.instruments.cards import compiled_shim
from tests.chaos.people import Person

PROMPT_SECONDS = 2
PINENTRY = """\
#!/bin/sh
# The holder at the PIN prompt; each PIN that is typed leaves a line: for which process.
echo OK
while read -r command rest; do
  case "$command" in
    GETPIN) echo $PPID >> '{typed}'; echo "D $(cat '{pin}')"; echo OK ;;
    BYE) echo OK; exit 0 ;;
    *) echo OK ;;
  esac
done
"""


@dataclass
class Desk:
    """One holder's place; ``card_id`` is the register's, ``update_id`` that of the open update."""

    name: str
    directory: Path
    holder: Person
    card: DemoCard
    card_id: str = ""
    agent_id: str = ""
    update_id: str = ""
    old: frozenset[str] = frozenset()  # CKA_IDs of the complete pairs before the update
    is_clearing: bool = True  # no pair is there that must stay: none was yet, or all of them go
    turn: int = 0  # changes with ``old`` and ``is_clearing``
    alarms: list[str] = field(default_factory=list)  # what was wrong at the instant of a kill
    _module: Path = field(init=False)  # SoftHSM, with its calls counted

    def expect(self, old: frozenset[str], *, is_clearing: bool) -> None:
        """Say what the card carries from now on."""
        self.old, self.is_clearing, self.turn = old, is_clearing, self.turn + 1

    @property
    def state(self) -> StateDir:
        return StateDir(self.directory / "agent")

    @property
    def question(self) -> dict[str, str]:
        """What the eye must know to look at the card."""
        return {
            "configuration": str(self.card.configuration),
            "label": self.card.label,
            "pin": self.card.pin_file.read_text(),
        }

    def make(self) -> None:
        """The card, and hands that type its PIN, are there."""
        self.card.make()
        self._module = compiled_shim(self.directory)
        self._typed.touch()
        hands = self.directory / "pinentry"
        hands.write_text(PINENTRY.format(typed=self._typed, pin=self.card.pin_file))
        hands.chmod(0o700)

    @property
    def _typed(self) -> Path:
        return self.directory / "typed"

    def logins(self) -> Counter[str]:
        """Return how often each process had the module log in (C_Login)."""
        calls = self._module.with_name(f"{self._module.name}.calls")
        lines = calls.read_text().splitlines() if calls.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith("C_Login "))

    def typed(self) -> Counter[str]:
        """Return how often a PIN was typed for each process."""
        return Counter(self._typed.read_text().split())

    async def enrol(self, settings: Settings) -> None:
        """The workstation is enrolled and confirmed by its holder."""
        self.state.path.mkdir(mode=0o700, parents=True)
        lines = [f"prompt_seconds = {PROMPT_SECONDS}"]
        lines += [
            f"pinentry = {json.dumps(str(self.directory / 'pinentry'))}",
            'log_level = "info"',
        ]
        lines += ["[[modules]]", 'name = "softhsm"', f"path = {json.dumps(str(self._module))}"]
        (self.state.path / "agent.toml").write_text("\n".join(lines) + "\n")
        code = (await self.holder.post("/agents/codes"))["code"]
        server, root = settings.door_url, settings.door_root_file
        words = await enrol(self.state, server=server, root_file=root, code=code)
        self.agent_id = self.state.enrolment().agent_id
        await self.holder.post(f"/agents/{self.agent_id}/confirm", json={"words": words})
