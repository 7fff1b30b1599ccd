"""Hanna's workstation: the ordinary agent, with SoftHSM as its reader and the demo's PIN prompt."""

import json
import sys

from cardflow.errors import Refused
from cli.client import Api
from cli.demo_card import module
from cli.demo_state import DemoState
from cli.processes import ROOT
from cli.programs import expect, run


def enrol(state: DemoState, holder: Api) -> str:
    """The workstation is enrolled and its holder has confirmed it; return the six words."""
    _write_settings(state)
    settings = state.settings
    server = ("--server", settings.door_url, "--ca-file", str(settings.door_root_file))
    command = (
        sys.executable,
        "-m",
        "agent",
        "enrol",
        "--state",
        str(state.agent_dir),
        *server,
        "--code-file",
        "-",
    )
    code = str(holder.post("/agents/codes")["code"])
    said = expect(run(*command, environment={"PYTHONPATH": str(ROOT)}, given=f"{code}\n".encode()))
    (agent,) = holder.items("/agents")
    if agent["words"] not in said.text:
        raise Refused(f"the workstation shows other words than the server:\n{said.text}")
    holder.post(f"/agents/{agent['id']}/confirm", {"words": agent["words"]})
    return str(agent["words"])


def _write_settings(state: DemoState) -> None:
    state.agent_dir.mkdir(mode=0o700)
    lines = [
        f"pinentry = {json.dumps(str(state.settings.pinentry))}",
        f'log_level = "{state.settings.log_level}"',
        "[[modules]]",
        'name = "softhsm"',
        f"path = {json.dumps(module())}",
    ]
    (state.agent_dir / "agent.toml").write_text("\n".join(lines) + "\n")
