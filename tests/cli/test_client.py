"""The command line's way into the API: what it sends, and what it makes of every answer."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cardflow.errors import Unavailable
from cli.client import Api, Problem, Upload


class Answering(BaseHTTPRequestHandler):
    """A small real server: keeps what came and answers what the test laid out."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.came.append((self.command, self.path, dict(self.headers), body))
        status, answer = self.server.answers.pop(0)
        if status == 0:
            self.close_connection = True
            return
        content = json.dumps(answer).encode() if answer is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # noqa: N815 http.server's names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Holds the answers to give and the requests that came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: list[tuple[int, Any]] = []
        self.came: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    with Api(server.url, "cfs_token") as opened:
        yield opened


def test_a_request_carries_the_token_and_a_post_a_key(server: Server, api: Api) -> None:
    server.answers = [(200, {}), (201, {})]

    api.get("/me")
    api.post("/people", {"login": "x"})

    (_, path, asked, _), (_, _, posted, body) = server.came
    assert path == "/api/v1/me"
    assert asked["Authorization"] == "Bearer cfs_token"
    assert "Idempotency-Key" not in asked
    assert len(posted["Idempotency-Key"]) == 36
    assert json.loads(body) == {"login": "x"}


def test_a_broken_off_post_is_sent_again_under_the_same_key(server: Server, api: Api) -> None:
    server.answers = [(0, None), (0, None), (201, {"id": "1"})]

    assert api.post("/people", {}) == {"id": "1"}

    assert len({headers["Idempotency-Key"] for _, _, headers, _ in server.came}) == 1


def test_a_broken_off_put_is_not_sent_again(server: Server, api: Api) -> None:
    server.answers = [(0, None), (200, {})]

    with pytest.raises(Unavailable, match="broke off the connection"):
        api.put("/me/password", {})
    assert len(server.came) == 1


def test_a_list_is_followed_to_its_end(server: Server, api: Api) -> None:
    server.answers = [
        (200, {"items": [{"n": 1}], "next": "abc"}),
        (200, {"items": [{"n": 2}], "next": None}),
    ]

    assert [item["n"] for item in api.items("/updates", stage="pending", open=None)] == [1, 2]

    assert server.came[0][1] == "/api/v1/updates?stage=pending"
    assert server.came[1][1] == "/api/v1/updates?stage=pending&cursor=abc"


def test_a_problem_names_every_field_and_the_remedy(server: Server, api: Api) -> None:
    error = {"field": "deadline_hours", "reason": "too early", "remedy": "give more hours"}
    document = {
        "type": "urn:cardflow:problem:invalid",
        "title": "t",
        "detail": "no",
        "errors": [error],
    }
    server.answers = [(422, document)]

    with pytest.raises(Problem) as caught:
        api.post("/policies", {})

    assert (caught.value.status, caught.value.slug) == (422, "invalid")
    assert str(caught.value) == "no\n  deadline_hours: too early; give more hours"


@pytest.mark.parametrize(
    ("status", "words"), [(401, "cardflow login"), (403, "--as LOGIN"), (503, "cardflow up")]
)
def test_a_refusal_tells_the_remedy(server: Server, api: Api, status: int, words: str) -> None:
    server.answers = [(status, {"detail": "no"})]

    with pytest.raises(Problem, match=words):
        api.get("/me")


def test_an_answer_that_is_no_problem_document_is_told_by_its_status(
    server: Server, api: Api
) -> None:
    server.answers = [(502, None)]

    with pytest.raises(Problem, match="HTTP 502"):
        api.get("/me")


def test_nothing_that_answers_is_a_sentence_with_a_remedy() -> None:
    with Api("http://127.0.0.1:9") as api, pytest.raises(Unavailable, match="cardflow up"):
        api.get("/me")


def test_an_upload_sends_the_file_and_the_fields_as_parts(server: Server, api: Api) -> None:
    server.answers = [(201, {})]

    api.upload("/updates/u/lanes/l/documents", Upload("s.pdf", b"%PDF"), {"means": "post"})

    _, _, headers, body = server.came[0]
    assert headers["Content-Type"].startswith("multipart/form-data")
    assert b'name="means"' in body
    assert b'filename="s.pdf"' in body


def test_a_record_without_a_file_is_a_form_too(server: Server, api: Api) -> None:
    server.answers = [(201, {})]

    api.upload("/updates/u/lanes/l/documents", None, {"means": "post", "note": "by letter"})

    assert server.came[0][2]["Content-Type"].startswith("multipart/form-data")


def test_a_reason_is_not_said_twice_but_its_remedy_is_kept(server: Server, api: Api) -> None:
    error = {"field": "file", "reason": "it is no PDF", "remedy": "scan it as PDF"}
    server.answers = [(422, {"detail": "file: it is no PDF", "errors": [error]})]

    with pytest.raises(Problem) as caught:
        api.post("/x", {})

    assert str(caught.value) == "file: it is no PDF\n  scan it as PDF"
