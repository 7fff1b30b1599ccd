"""With a time-stamping authority set, what the card signs is kept with its proofs."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from asn1crypto.tsp import TimeStampReq
from pyhanko.pdf_utils.reader import PdfFileReader

from tests.api.conftest import NOBODY
from tests.api.updates.test_signing import EITHER, carded, click, over, received, waiting
from tests.documents.signing import NOW, stamper, time_stamper

pytestmark = pytest.mark.temporal
__all__ = ["carded"]


class Authority(BaseHTTPRequestHandler):
    """Answers time-stamp queries over HTTP, as RFC 3161 3.4 says."""

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/timestamp-query"
        reply = time_stamper().request_tsa_response(TimeStampReq.load(query)).dump()
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def answering() -> Iterator[str]:
    """Yield the address of an authority that answers."""
    server = HTTPServer(("127.0.0.1", 0), Authority)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def stamping(office, door, root: Path, url: str) -> Iterator[None]:
    """Have both doors work with this authority."""
    root.write_text(stamper().pem)
    before = office.state
    changes = {"tsa_url": url, "tsa_root_file": root}
    state = replace(before, settings=before.settings.model_copy(update=changes))
    office.app.state.cardflow = door.state.cardflow = state
    try:
        yield
    finally:
        office.app.state.cardflow = door.state.cardflow = before


async def test_what_the_card_signs_is_stamped_once_and_kept_with_its_proofs(carded, door, tmp_path):
    update_id = await waiting(carded, "precheck=true", EITHER)
    with answering() as url, stamping(carded, door, tmp_path / "root.pem", url):
        await click(carded, update_id)
        seen = await over(carded, update_id)

    assert seen["last_visit"] == ""  # the repeated hand-in was the same document
    (document,) = await received(carded, update_id)
    found = document["findings"]["signature"]
    assert (found["verdict"], found["reasons"]) == ("good", [])
    assert found["stamped_at"].startswith(f"{NOW:%Y-%m-%d}")
    content = await carded.state.store.get(document["sha256"])
    assert content.startswith(carded.desk.signed[0])
    assert "/DSS" in PdfFileReader(io.BytesIO(content)).root


async def test_while_the_authority_is_away_nothing_is_handed_in(carded, door, tmp_path):
    update_id = await waiting(carded, "precheck=true", EITHER)
    with stamping(carded, door, tmp_path / "root.pem", f"http://{NOBODY}/"):
        await click(carded, update_id)
        seen = await over(carded, update_id)

    assert "time-stamping authority does not answer" in seen["last_visit"]
    assert await received(carded, update_id) == []
