"""Debian's nginx with the shipped configuration, at ports of a test's own."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.deployment.files import DEPLOY
from tests.waiting import until

STREAMS = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"  # Debian has it apart
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def configuration(
    here: Path,
    listen: Mapping[str, int],
    apis: Sequence[int],
    doors: Sequence[int] = (),
    *,
    card: bool = False,
) -> str:
    """Return our own configuration, where only ports, addresses and directories are others."""
    text = (DEPLOY / "nginx.conf").read_text()
    if not doors:
        text = text[: text.index("stream {")]
    cards = (DEPLOY / "nginx-card.conf").read_text() if card else ""
    text = text.replace("include /etc/nginx/card/*.conf;", cards)
    text = re.sub(r"listen (\d+)", lambda found: f"listen 127.0.0.1:{listen[found[1]]}", text)
    upstreams = {"8000": apis, "8443": doors}
    text = re.sub(
        r"172\.30\.70\.1(\d):(\d+)",
        lambda found: f"127.0.0.1:{upstreams[found[2]][int(found[1]) - 1]}",
        text,
    )
    # Debian's nginx is older than our image's and takes HTTP/2 with the port.
    text = re.sub(r"(listen \S+ ssl);\s+http2 on;", r"\1 http2;", text)
    text = text.replace("/etc/nginx/tls", str(here / "tls")).replace(
        "/tmp/nginx.pid", f"{here}/pid"
    )
    text = text.replace("/dev/stdout", f"{here}/agents.log")
    temporary = "".join(f"{kind}_temp_path {here}/{kind};" for kind in TEMPORARY)
    text = text.replace("http {", f"error_log stderr info;\nhttp {{ {temporary}", 1)
    return f"user root;\n{STREAMS if doors else ''}{text}"


@asynccontextmanager
async def nginx(here: Path, text: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Yield nginx, running with a configuration; it is gone afterwards."""
    (here / "nginx.conf").write_text(text)
    told = ["-p", str(here), "-c", str(here / "nginx.conf"), "-g", "daemon off;"]
    with (here / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec("/usr/sbin/nginx", *told, stderr=log)
        try:
            await until((here / "pid").exists, what="nginx runs")
            yield process
        finally:
            process.terminate()
            await process.wait()
