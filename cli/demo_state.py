"""A state directory for trying out: free ports, a card, a PIN prompt that types by itself."""

import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from cardflow.environment import SETTINGS_FILE
from cardflow.errors import Refused
from cardflow.secret_files import DEMO_MARKER, read_secret, write_secret
from cardflow.settings import Settings, load_settings
from cli.demo_card import DemoCard
from cli.ports import free_ports
from cli.processes import ROOT

ORGANISATION = "Example Insurance"
CARD_LABEL = "Staff card"
SHORT_LIVED = """\
# The profiles of the first days: certificates for trying out, good for ten days.

[smart-card-logon]
title = "Smart-card logon"
purpose = "authentication"
key_usage = ["digitalSignature"]
extended_key_usage = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.20.2.2"]
subject_alt_names = ["upn"]
validity_days = 10
approval = "automatic"
"""
PINENTRY = """\
#!/bin/sh
# The demo's stand-in for the person at the PIN prompt; see cli/pinentry_demo.py.
cd '{root}' && exec '{python}' -m cli.pinentry_demo '{state}' '{pin}'
"""


@dataclass(frozen=True)
class DemoState:
    """Everything that a demo keeps, in one directory."""

    directory: Path

    @property
    def settings(self) -> Settings:
        return load_settings(self.directory)

    @property
    def card(self) -> DemoCard:
        return DemoCard(self.directory / "card", CARD_LABEL)

    @property
    def prompts(self) -> Path:
        """What the PIN prompt showed; its PINs are not in there."""
        return self.card.pin_file.with_name("prompts.txt")

    @property
    def agent_dir(self) -> Path:
        return self.directory / "agent"

    @property
    def profiles_file(self) -> Path:
        """The profiles in force; the samples take its place after the first days."""
        return self.directory / "profiles.toml"

    @property
    def unfinished(self) -> Path:
        """There while the stage is being set for a stranger who tries Cardflow out."""
        return self.directory / "unfinished"

    @property
    def pinentry(self) -> Path:
        return self.directory / "hands" / "pinentry"

    def password(self, login: str) -> str:
        """Return the person's password, made at the first question."""
        file = self.directory / "passwords" / login
        if not file.exists():
            write_secret(file, secrets.token_urlsafe(12).encode())
        return read_secret(file).decode()

    def password_file(self, login: str) -> Path:
        """Return the file with the person's password."""
        self.password(login)
        return self.directory / "passwords" / login

    def make(self) -> None:
        """A card, a PIN prompt and short-lived profiles are there; what is there stays."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.directory / DEMO_MARKER).touch()
        if not self.card.configuration.exists():
            self.card.make()
            self.card.add_third_party_certificate()
        if not self.profiles_file.exists():
            self.profiles_file.write_text(SHORT_LIVED)
        self._make_hands()

    def _make_hands(self) -> None:
        self.pinentry.parent.mkdir(exist_ok=True, mode=0o700)
        (self.pinentry.parent / DEMO_MARKER).touch()
        text = PINENTRY.format(
            root=ROOT, python=sys.executable, state=self.directory, pin=self.card.pin_file
        )
        self.pinentry.write_text(text)
        self.pinentry.chmod(0o700)


def fresh(directory: Path) -> DemoState:
    """Return a new demo state on free ports; only an older demo's state is wiped."""
    directory = directory.absolute()
    if directory.exists() and any(directory.iterdir()):
        if not (directory / DEMO_MARKER).exists():
            raise Refused(f"{directory} holds something else than a demo\n  → name another --state")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    (directory / SETTINGS_FILE).write_text(_settings_on_free_ports(directory))
    state = DemoState(directory)
    state.make()
    return state


def settings_to_try_out(directory: Path) -> str:
    """Return what a settings file must say so that a person need not type PINs."""
    return f"""\
# Made for trying out: the PIN prompt types by itself.
organisation = "{ORGANISATION}"
pinentry = "{directory}/hands/pinentry"
profiles_file = "profiles.toml"
"""


def _settings_on_free_ports(directory: Path) -> str:
    api, door, temporal, ui, metrics, smtp, catcher = free_ports(7)
    return f"""\
{settings_to_try_out(directory)}
public_url = "http://localhost:{api}"
api_port = {api}
door_url = "https://localhost:{door}"
door_port = {door}
temporal_address = "127.0.0.1:{temporal}"
temporal_ui_port = {ui}
worker_metrics_port = {metrics}
smtp_port = {smtp}
catcher_port = {catcher}
"""
