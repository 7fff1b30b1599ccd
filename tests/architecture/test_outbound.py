"""Who opens connections: the server by one door only, so nothing goes around its checks."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER = ("cardflow", "api", "activities", "workflows")
OPENERS = {
    *("AsyncClient", "Client", "AsyncHTTPTransport", "HTTPTransport", "AsyncConnectionPool"),
    *("open_connection", "create_connection", "open_unix_connection", "sock_connect"),
    *("urlopen", "HTTPConnection", "HTTPSConnection", "SMTP", "SMTP_SSL"),
}
# Where each is, and why that is no way around: its address is one that ``Outbound`` looked at.
KNOWN = {
    ("cardflow/outbound.py", "sock_connect"),
    ("cardflow/outbound_http.py", "AsyncClient"),
    ("cardflow/outbound_http.py", "AsyncHTTPTransport"),
    ("activities/mail/smtp.py", "SMTP"),  # over a socket of Outbound's
    ("api/health_looks.py", "open_connection"),  # the same
    ("api/provider.py", "AsyncClient"),  # over the transport of outbound_http
    ("cardflow/documents/scanner.py", "open_connection"),  # the same
    ("cardflow/documents/scanner.py", "open_unix_connection"),  # a path of the settings file
}


def called(source: str) -> set[str]:
    """Return the last part of everything that is called."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {
        call.attr if isinstance(call, ast.Attribute) else call.id
        for call in calls
        if isinstance(call, ast.Attribute | ast.Name)
    }


def test_the_server_opens_connections_in_known_places_only() -> None:
    files = [ROOT / "worker.py", *(p for top in SERVER for p in (ROOT / top).rglob("*.py"))]
    found = {
        (str(file.relative_to(ROOT)), name)
        for file in files
        for name in called(file.read_text()) & OPENERS
    }

    assert found == KNOWN


def test_an_opener_is_seen_however_it_is_reached() -> None:
    source = "import httpx2\nasync def look(url):\n    return await httpx2.AsyncClient().get(url)"

    assert called(source) & OPENERS == {"AsyncClient"}
