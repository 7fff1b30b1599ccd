"""How many certificates per second the embedded CA issues, everything included.

Intake checks, intent row, lint, signature and commit are all in the figure; the lint alone is a row
of its own. Beside it: `openssl x509 -req`, one process per certificate, without any record.
"""

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.table import Row, milliseconds, show
from cardflow.ca import CertificateRequest, Issued
from cardflow.ca.embedded.lint import refuse_findings
from cardflow.x509 import load_certificate
from tests.ca.making import Home, a_csr, a_request

CERTIFICATES, AT_ONCE = 200, 8


async def ours(home: Home) -> tuple[float, float]:
    """Return certificates per second, and the milliseconds of one lint."""
    engine = await home.engine()
    ca = home.ca(engine)
    requests = [a_request() for _ in range(CERTIFICATES)]
    first = await ca.submit(a_request())
    gate = asyncio.Semaphore(AT_ONCE)

    async def submit(request: CertificateRequest) -> None:
        async with gate:
            await ca.submit(request)

    before = time.perf_counter()
    await asyncio.gather(*(submit(request) for request in requests))
    rate = CERTIFICATES / (time.perf_counter() - before)
    assert isinstance(first, Issued)
    der = load_certificate(first.certificate_pem).public_bytes(Encoding.DER)
    lint = milliseconds(lambda: refuse_findings(der), times=30)
    ca.close()
    await engine.dispose()
    return rate, lint


def openssl(folder: Path) -> float:
    """Return certificates per second with one openssl process each."""
    key, certificate, csr = (folder / name for name in ("ca.key", "ca.pem", "one.csr"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes")
    _run("openssl", "req", "-x509", *curve, "-subj", "/CN=CA", "-keyout", key, "-out", certificate)
    csr.write_text(a_csr())
    command = ("openssl", "x509", "-req", "-in", csr, "-CA", certificate, "-CAkey", key)
    out = folder / "one.pem"
    return 1000 / milliseconds(lambda: _run(*command, "-days", "365", "-out", out), times=30)


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def main() -> None:
    """Measure and show."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rate, lint = asyncio.run(ours(Home(folder / "ca").make()))
        baseline = openssl(folder)
    rows = [
        Row("certificates, checks, lint and commit included", rate, "1/s",
            "openssl x509 -req, a process each, no record", baseline),
        Row("of which one lint", lint, "ms"),
    ]  # fmt: skip
    show("ca", rows)


if __name__ == "__main__":
    main()
