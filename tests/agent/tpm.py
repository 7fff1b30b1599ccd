"""A software TPM as a card: swtpm, its resource manager on a private bus, and tpm2-pkcs11."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.agent.desk import SO_PIN

MODULE = "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so"
PROGRAMS = ("swtpm", "tpm2-abrmd", "dbus-daemon", "pkcs11-tool")
START_SECONDS = 60


def is_here() -> bool:
    """Tell whether everything is installed."""
    return Path(MODULE).exists() and all(shutil.which(program) for program in PROGRAMS)


class Tpm2Reader:
    """A TPM with one token; ``environment`` is what the module must inherit.

    The resource manager is needed: without it the TPM runs out of contexts after two keys.
    """

    module = MODULE

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        for name in ("state", "store"):
            (folder / name).mkdir(parents=True)
        self.environment = {
            "TPM2_PKCS11_STORE": str(folder / "store"),
            "TPM2_PKCS11_LOG_LEVEL": "0",
            "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
        }

    def start(self) -> None:
        """The TPM answers through its resource manager."""
        path = self._folder / "tpm"  # TPM clients look for the control socket beside it
        self._run(
            *["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder / 'state'}"],
            *["--ctrl", f"type=unixio,path={path}.ctrl", "--server", f"type=unixio,path={path}"],
            *["--flags", "not-need-init,startup-clear"],
        )
        bus = self._run("dbus-daemon", "--session", "--nofork", "--print-address=1", tell=True)
        assert bus.stdout is not None
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().decode().strip()
        tcti = f"--tcti=swtpm:path={path}"
        self._run("tpm2-abrmd", "--allow-root", "--session", tcti)

    def new_card(self, label: str, pin: str) -> str:
        """Return the serial of the TPM's new token."""
        self._until_initialised(label)
        self._tool("--token-label", label, "--init-pin", "--so-pin", SO_PIN, "--pin", pin)
        slots = self._tool("--list-slots").decode()
        block = slots[slots.index(label) :]
        line = next(x for x in block.splitlines() if x.strip().startswith("serial num"))
        return line.split(":", 1)[1].strip()

    def stop(self) -> None:
        """Nothing of this reader runs any more."""
        for process in reversed(self._running):
            process.terminate()
            process.wait(10)
            if process.stdout:
                process.stdout.close()

    def _until_initialised(self, label: str) -> None:
        until = time.monotonic() + START_SECONDS
        command = ("--slot-index", "0", "--init-token", "--label", label, "--so-pin", SO_PIN)
        while True:
            try:
                self._tool(*command)
            except subprocess.CalledProcessError:
                if time.monotonic() > until:
                    raise
            else:
                return

    def _tool(self, *arguments: str) -> bytes:
        return subprocess.run(
            ["pkcs11-tool", "--module", self.module, *arguments],
            env={**os.environ, **self.environment},  # noqa: TID251 for the module
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout

    def _run(self, *command: str, tell: bool = False) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            env={**os.environ, **self.environment},  # noqa: TID251 for the module
            stdout=subprocess.PIPE if tell else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._running.append(process)
        return process
