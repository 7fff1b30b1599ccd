"""How many certificates per second the embedded CA issues over HTTP, everything included.

Intake checks, intent row, lint, signature and commit are all in the figure; the lint alone is a row
of its own. Beside it: `cfssl serve`, which signs what it is asked to and keeps no record. Both have
P-384 keys and answer the same clients on connections that stay open. The product's CA has no HTTP
of its own, so a bare server stands before it here.
"""

import asyncio
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.table import Row, is_quick, milliseconds, quantile, show
from cardflow.ca import Issued
from cardflow.ca.embedded import EmbeddedCA
from cardflow.ca.embedded.lint import refuse_findings
from cardflow.x509 import load_certificate
from tests.ca.making import Home, a_csr, a_request

CERTIFICATES, ROUNDS, AT_ONCE = 100, 3, 8
HOST = "127.0.0.1"
Ask = Callable[[httpx2.AsyncClient, str], Awaitable[str]]


# Ours


@asynccontextmanager
async def serving(ca: EmbeddedCA) -> AsyncIterator[str]:
    """Yield the address at which the CA answers CSRs with certificates."""

    async def issue(request: Request) -> JSONResponse:
        answer = await ca.submit(a_request(csr_pem=(await request.body()).decode()))
        assert isinstance(answer, Issued), answer
        return JSONResponse({"certificate": answer.certificate_pem})

    app = Starlette(routes=[Route("/", issue, methods=["POST"])])
    listening = socket.create_server((HOST, 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Go's server does
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    task = asyncio.create_task(server.serve([listening]))
    yield f"http://{HOST}:{listening.getsockname()[1]}"
    server.should_exit = True
    await task


async def ours(client: httpx2.AsyncClient, csr_pem: str) -> str:
    """Return a certificate of the embedded CA."""
    answer = await client.post("/", content=csr_pem)
    return str(answer.raise_for_status().json()["certificate"])


# The yardstick


@asynccontextmanager
async def cfssl(folder: Path) -> AsyncIterator[str]:
    """Yield the address of `cfssl serve` with a CA of its own."""
    key, certificate, config = (folder / name for name in ("ca.key", "ca.pem", "config.json"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes")
    out = ("-subj", "/CN=CA", "-keyout", str(key), "-out", str(certificate))
    await asyncio.to_thread(
        subprocess.run, ["openssl", "req", "-x509", *curve, *out], check=True, capture_output=True
    )
    usages = {"usages": ["digital signature", "client auth"], "expiry": "8760h"}
    config.write_text(json.dumps({"signing": {"default": usages}}))
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    command = ["cfssl", "serve", "-address", HOST, "-port", str(port), "-loglevel", "4"]
    command += ["-ca", str(certificate), "-ca-key", str(key), "-config", str(config)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await _until_it_listens(port)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


async def its(client: httpx2.AsyncClient, csr_pem: str) -> str:
    """Return a certificate of cfssl's."""
    answer = await client.post("/api/v1/cfssl/sign", json={"certificate_request": csr_pem})
    return str(answer.raise_for_status().json()["result"]["certificate"])


# Side by side


async def rate(address: str, ask: Ask, csrs: list[str]) -> float:
    """Return certificates per second with ``AT_ONCE`` clients on open connections."""
    gate = asyncio.Semaphore(AT_ONCE)
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx2.AsyncClient(
        base_url=address, limits=limits, timeout=60, trust_env=False
    ) as client:

        async def one(csr_pem: str) -> None:
            async with gate:
                load_certificate(await ask(client, csr_pem))

        await one(a_csr())
        before = time.perf_counter()
        await asyncio.gather(*(one(csr) for csr in csrs))
        return len(csrs) / (time.perf_counter() - before)


async def measure(folder: Path, *, quick: bool) -> list[Row]:
    """Measure in turns and return the rows."""
    home = Home(folder / "ca").make()
    engine = await home.engine()
    ca = home.ca(engine)
    first = await ca.submit(a_request())
    assert isinstance(first, Issued)
    der = load_certificate(first.certificate_pem).public_bytes(Encoding.DER)
    lint = milliseconds(lambda: refuse_findings(der), times=3 if quick else 30)
    number, rounds = (5, 1) if quick else (CERTIFICATES, ROUNDS)
    found = []
    async with serving(ca) as at_ours, cfssl(folder) as at_its:
        for _ in range(rounds):
            csrs = [a_csr() for _ in range(number)]
            found.append((await rate(at_ours, ours, csrs), await rate(at_its, its, csrs)))
    ca.close()
    await engine.dispose()
    figure, yardstick = (quantile([pair[n] for pair in found], 0.5) for n in (0, 1))
    return [
        Row("certificates over HTTP, checks, lint and commit included", figure, "1/s",
            "cfssl serve, no record, no lint", yardstick, reach_ratio=1),
        Row("of which one lint", lint, "ms"),
    ]  # fmt: skip


def main() -> None:
    """Measure and show."""
    quick = is_quick()
    with tempfile.TemporaryDirectory() as name:
        rows = asyncio.run(measure(Path(name), quick=quick))
    show("ca", rows)


if __name__ == "__main__":
    main()
