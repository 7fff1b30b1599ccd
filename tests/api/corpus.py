"""Requests as somebody may bend them, byte by byte, and how each is answered."""

import json
from collections.abc import Callable
from dataclasses import dataclass

BEARER = b"Authorization: Bearer %TOKEN%\r\n"
HELD = b"Host: localhost\r\nConnection: close\r\n"
PEOPLE = b"/api/v1/people"
LANE = b"/api/v1/updates/00000000-0000-7000-8000-000000000000/lanes/logon/documents"
LIMIT = 64 * 1024  # what a body may have where no files are taken


@dataclass(frozen=True)
class Request:
    """Bytes on the wire, the statuses of an answer that is right, and the source of the trick.

    The status 0 is no answer: the connection is closed, as for what is no HTTP.
    """

    name: str
    make: Callable[[], bytes]
    statuses: tuple[int, ...]
    source: str


def get(path: bytes, more: bytes = b"", *, method: bytes = b"GET") -> Callable[[], bytes]:
    return lambda: method + b" " + path + b" HTTP/1.1\r\n" + HELD + BEARER + more + b"\r\n"


def post(
    body: bytes,
    more: bytes = b"",
    *,
    path: bytes = PEOPLE,
    kind: bytes = b"application/json",
    method: bytes = b"POST",
) -> Callable[[], bytes]:
    length = b"Content-Length: %d\r\n" % len(body)
    typed = b"Content-Type: " + kind + b"\r\n" if kind else b""
    return lambda: get(path, typed + length + more, method=method)() + body


def raw(framing: bytes, body: bytes = b"") -> Callable[[], bytes]:
    """Return a POST of JSON whose framing is written by hand."""
    return lambda: (
        get(PEOPLE, b"Content-Type: application/json\r\n" + framing, method=b"POST")() + body
    )


PERSON = b'{"login": "a", "name": "%b"}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO = (422,)
FRAMING = [
    Request("two framings", raw(CHUNKED + b"Content-Length: 3\r\n", b"0\r\n\r\n"), (400, 422),
            "RFC 9112 6.3, request smuggling"),
    Request("two lengths", raw(b"Content-Length: 2\r\nContent-Length: 4\r\n", b"{}{}"), (400,),
            "RFC 9112 6.3, request smuggling"),
    Request("a list of lengths", raw(b"Content-Length: 2, 4\r\n", b"{}{}"), (400,), "RFC 9110 8.6"),
    Request("a negative length", raw(b"Content-Length: -2\r\n", b"{}"), (400,), "RFC 9110 8.6"),
    Request("a length with a plus", raw(b"Content-Length: +2\r\n", b"{}"), (400,),
            "CVE-2022-31813"),
    Request("a length in another script", raw("Content-Length: ２\r\n".encode(), b"{}"), (400,),
            "CWE-444"),
    Request("a length without end", raw(b"Content-Length: " + b"9" * 30 + b"\r\n", b"{}"), (400,
            413),
            "CWE-190"),
    Request("two codings", raw(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), (400, 501),
            "RFC 9112 6.1"),
    Request("a coding that looks like another", raw(b"Transfer-Encoding: xchunked\r\n", b""),
            (400, 501), "Kettle, HTTP desync attacks (2019)"),
    Request("a chunk without end", raw(CHUNKED, b"FFFFFFFFFFFFFFFFF\r\n"), (0,), "CVE-2013-2028"),
    Request("a chunk of a negative size", raw(CHUNKED, b"-1\r\n"), (400,), "RFC 9112 7.1"),
    Request("a chunk with a remark of 100 kB", raw(CHUNKED, b"0;" + b"x" * 100_000), (400,),
            "CVE-2023-39326"),
    Request("a chunk longer than it says", raw(CHUNKED, b"1\r\n{}\r\n0\r\n\r\n"), (400,),
            "RFC 9112 7.1"),
    Request("a trailer that is a header", raw(CHUNKED, b"2\r\n{}\r\n0\r\nHost: evil\r\n\r\n"), NO,
            "RFC 9110 6.5.1"),
    Request("half a body", raw(b"Content-Length: 99\r\n", b"{}"), (0,), "RFC 9112 8"),
    Request("no length", raw(b"", b""), NO, "RFC 9112 6.3"),
    Request("too much at once", post(b" " * 10_000_000), (413,), "CWE-770"),
    Request("too much in chunks",
            raw(CHUNKED, (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 40 + b"0\r\n\r\n"), (413,),
            "CWE-770"),
    Request("a second request inside", lambda: post(b"{}")() + get(b"/admin")(), NO, "CWE-444"),
]  # fmt: skip

LINES = [
    Request("no HTTP",
            lambda: b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
            (400,), "RFC 8446, TLS to a plain port"),
    Request("HTTP/2 at once", lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 404, 405),
            "RFC 9113 3.4"),
    Request("HTTP/0.9", lambda: b"GET /\r\n\r\n", (400,), "RFC 9112 2.3"),
    Request("HTTP/9.9", lambda: b"GET /api/v1/me HTTP/9.9\r\n" + HELD + b"\r\n", (400, 401),
            "RFC 9110 2.5"),
    Request("a method that nobody knows", get(PEOPLE, method=b"SPLICE"), (405,), "RFC 9110 9.1"),
    Request("a method in small letters", get(PEOPLE, method=b"get"), (405,), "RFC 9110 9.1"),
    Request("a tunnel", get(b"evil.example:443", method=b"CONNECT"), (400, 404, 405),
            "RFC 9110 9.3.6"),
    Request("an echo", get(PEOPLE, method=b"TRACE"), (405,), "Grossman, cross-site tracing (2003)"),
    Request("another method within", post(b"{}", b"X-HTTP-Method-Override: DELETE\r\n"), NO,
            "CWE-650"),
    Request("a whole address", get(b"http://evil.example/api/v1/me"), (400, 404), "RFC 9112 3.2.2"),
    Request("no host", lambda: b"GET /api/v1/me HTTP/1.1\r\nConnection: close\r\n\r\n", (400,),
            "RFC 9112 3.2"),
    Request("two hosts", get(b"/api/v1/me", b"Host: evil\r\n"), (400,), "RFC 9112 3.2"),
    Request("a space before the colon", get(b"/api/v1/me", b"X-A : b\r\n"), (400,), "RFC 9112 5.1"),
    Request("a header over two lines", get(b"/api/v1/me", b"X-A: b\r\n c\r\n"), (200, 400),
            "RFC 9112 5.2"),
    Request("a NUL in a header", get(b"/api/v1/me", b"X-A: b\0c\r\n"), (400,), "RFC 9110 5.5"),
    Request("a bare return in a header", get(b"/api/v1/me", b"X-A: b\rc\r\n"), (400,),
            "RFC 9112 2.2"),
    Request("a header of 200 kB", get(b"/api/v1/me", b"X-A: " + b"b" * 200_000 + b"\r\n"), (400,
            431),
            "RFC 6585 5"),
    Request("ten thousand headers", get(b"/api/v1/me", b"X-A: b\r\n" * 10_000), (200, 400, 431),
            "CVE-2024-27316"),
    Request("an address of 100 kB", get(b"/" + b"a" * 100_000), (400, 404, 414),
            "RFC 9110 15.5.15"),
    Request("a promise of more", post(b"{}", b"Expect: 100-continue\r\n"), NO, "RFC 9110 10.1.1"),
    Request("another expectation", post(b"{}", b"Expect: a-miracle\r\n"), (417, 422),
            "RFC 9110 10.1.1"),
    Request("another protocol", get(b"/api/v1/me", b"Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\n"),
            (200,),
            "Asselin, h2c smuggling (2020)"),
    Request("a web socket", get(b"/api/v1/me", b"Connection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"),
            (200, 400, 403), "RFC 6455 4.2"),
    Request("a part of a hundred thousand", get(b"/api/v1/me", b"Range: bytes=" + b"0-," * 9_999
            + b"\r\n"), (200,), "CVE-2011-3192"),
    Request("two sign-ins", get(b"/api/v1/me", b"Authorization: Bearer x\r\n"), (200, 401),
            "CWE-287"),
    Request("an address of somebody else", get(b"/api/v1/me", b"X-Original-URL: /admin\r\n"),
            (200,),
            "CVE-2018-14773"),
]  # fmt: skip

ME = (b"/api/v1/me",)
MISSING = (404,)
PATHS = [
    Request("a way up", get(b"/api/v1/../../etc/passwd"), MISSING, "CWE-22"),
    Request("an escaped way up", get(b"/api/v1/%2e%2e/%2e%2e/etc/passwd"), MISSING, "CWE-22"),
    Request("a way up among files", get(b"/static/../../cardflow.db"), MISSING, "CVE-2023-29159"),
    Request("an escaped way up among files", get(b"/static/..%2f..%2fcardflow.db"), MISSING,
            "CWE-22"),
    Request("a Windows way up", get(b"/static/..%5c..%5ccardflow.db"), MISSING, "CVE-2022-23607"),
    Request("a whole path among files", get(b"/static//etc/passwd"), MISSING, "CVE-2023-29159"),
    Request("escaped twice", get(b"/api/v1/%252e%252e/me"), MISSING, "CWE-174"),
    Request("an escaped slash", get(b"/api%2fv1%2fme"), (200, 404), "RFC 3986 2.2"),
    Request("two slashes", get(b"/api//v1/me"), MISSING, "RFC 3986 3.3"),
    Request("a slash at the end", get(b"/api/v1/me/"), (307, 404), "RFC 3986 6.2.3"),
    Request("a parameter of the path", get(b"/api/v1/me;a=b"), MISSING, "CVE-2007-0450"),
    Request("an end within", get(b"/api/v1/me%00"), MISSING, "CWE-158"),
    Request("a line within", get(b"/api/v1/me%0d%0aSet-Cookie:a=b"), MISSING, "CWE-113"),
    Request("a slash written too long", get(b"/api/v1%c0%afme"), MISSING, "CVE-2000-0884"),
    Request("an escape that is none", get(b"/api/v1/%zz"), MISSING, "RFC 3986 2.1"),
    Request("other letters", get(b"/API/V1/ME"), MISSING, "RFC 3986 6.2.2.1"),
    Request("letters that are equal after all", get("/api/v1/ｍｅ".encode()), (400, 404),
            "UTS 39, UAX 15"),
    Request("a dot at the end", get(b"/api/v1/me."), MISSING, "CWE-162"),
    Request("an ending", get(b"/api/v1/me.json"), MISSING, "Gil, web cache deception (2017)"),
    Request("an id that is none", get(PEOPLE + b"/*"), (404, 405, 422), "CVE-2023-4727"),
    Request("an id with a NUL", get(PEOPLE + b"/a%00b"), (404, 422), "CWE-158"),
    Request("an id of 8 kB", get(PEOPLE + b"/" + b"a" * 8_000), (404, 422), "CWE-1284"),
    Request("an id in other digits", get(PEOPLE + "/٠".encode().hex().encode()), (404, 422),
            "UAX 15"),
]  # fmt: skip

QUERIES = [
    Request("the same twice", get(PEOPLE + b"?limit=1&limit=2"), (200, 422), "CWE-235"),
    Request("fewer than none", get(PEOPLE + b"?limit=-1"), NO, "CWE-20"),
    Request("more than all", get(PEOPLE + b"?limit=" + b"9" * 400), NO, "CWE-770"),
    Request("no whole number", get(PEOPLE + b"?limit=1e3"), NO, "CWE-20"),
    Request("no number", get(PEOPLE + b"?limit=NaN"), NO, "CWE-20"),
    Request("a number in another script", get(PEOPLE + b"?limit=%D9%A5"), (200, 422), "UAX 15"),
    Request("a list where none is", get(PEOPLE + b"?limit[]=1"), (200, 422), "CWE-235"),
    Request("a cursor that is none", get(PEOPLE + b"?cursor=%00%ff"), (400, 422), "CWE-20"),
    Request("a cursor of another list", get(PEOPLE + b"?cursor=eyJhIjoxfQ"), (400, 422), "CWE-639"),
    Request("a NUL to look for", get(PEOPLE + b"?search=a%00b"), (200, 422), "CWE-158"),
    Request("a pattern to look for", get(PEOPLE + b"?search=%25%25_%5c"), (200,), "CWE-943"),
    Request("a command to look for", get(PEOPLE + b"?search=';DROP%20TABLE%20people--"), (200,),
            "CWE-89"),
    Request("bytes that are no text", get(PEOPLE + b"?search=%ff%fe"), (200, 422), "CWE-176"),
    Request("half a character", get(PEOPLE + b"?search=%ed%a0%80"), (200, 422), "CWE-176"),
    Request("more than a line to look for", get(PEOPLE + b"?search=" + b"a" * 8_000), NO,
            "CWE-1284"),
    Request("a role that nobody has", get(PEOPLE + b"?role=root"), NO, "CWE-20"),
    Request("something unheard of", get(PEOPLE + b"?__proto__[a]=b"), (200,), "CWE-1321"),
    Request("ten thousand parameters", get(PEOPLE + b"?" + b"a&" * 10_000), (200, 400, 422),
            "CVE-2011-4885"),
]  # fmt: skip

OURS = b'{"login": "a", "name": "x", "id": "1", "password_hash": ""}'
DEEP = b'{"login": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
BODIES = [
    Request("another kind", post(b"<a/>", kind=b"application/xml"), (415, 422), "CWE-436"),
    Request("no kind", post(b"{}", kind=b""), (415, 422), "RFC 9110 8.3"),
    Request("JSON called text", post(PERSON % b"x", kind=b"text/plain"), (415, 422),
            "CSRF by text/plain"),
    Request("JSON called a form", post(PERSON % b"x", kind=b"application/x-www-form-urlencoded"),
            (415, 422), "CSRF by forms"),
    Request("JSON in another alphabet", post('{"login": "a"}'.encode("utf-16"),
            kind=b"application/json; charset=utf-16"), (400, 422), "RFC 8259 8.1"),
    Request("packed JSON", post(b"\x1f\x8b" + bytes(40), b"Content-Encoding: gzip\r\n"), (400,
            415, 422),
            "RFC 9110 8.4, CWE-409"),
    Request("half a JSON", post(b'{"login": '), (400, 422), "RFC 8259 2"),
    Request("a list", post(b"[]"), NO, "CWE-1287"),
    Request("nothing named", post(b"null"), NO, "CWE-1287"),
    Request("a body without end", post(DEEP), (400, 422), "CWE-674"),
    Request("a name twice", post(b'{"login": "a", "name": "x", "login": "b"}'), (400, 422),
            "RFC 7493 2.3"),
    Request("no number in JSON", post(b'{"login": NaN, "name": "x"}'), (400, 422), "RFC 8259 6"),
    Request("a number of 9,000 digits", post(b'{"login": ' + b"9" * 9_000 + b"}"), (400, 422),
            "CVE-2020-10735"),
    Request("half a character in JSON", post(PERSON % b"\\ud800"), NO, "RFC 7493 2.1"),
    Request("a NUL", post(PERSON % b"a\\u0000b"), NO, "CWE-158"),
    Request("bytes in JSON that are no text", post(PERSON % b"\xff"), (400, 422), "RFC 3629 10"),
    Request("a line of 60,000 letters", post(PERSON % (b"x" * 60_000)), NO, "CWE-1284"),
    Request("a field that is ours", post(OURS),
            NO, "CWE-915"),
    Request("what JavaScript inherits", post(b'{"__proto__": {"roles": ["admin"]}}'), NO,
            "CWE-1321"),
    Request("a number for a text", post(b'{"login": 1, "name": true}'), NO, "CWE-1287"),
    Request("ten thousand roles", post(json.dumps({"login": "a", "name": "x", "roles":
            ["holder"] * 5_000}).encode()), NO, "CWE-770"),
    Request("a login that reads like another", post('{"login": "аdmin", "name": "x"}'.encode()), NO,
            "UTS 39"),
    Request("a CSV that is none", post(b'"', path=PEOPLE + b"/import", kind=b"text/csv"), (404,
            405, 422),
            "RFC 4180"),
]  # fmt: skip


def keyed(*lines: bytes) -> Callable[[], bytes]:
    return post(b"{}", b"".join(b"Idempotency-Key: " + line + b"\r\n" for line in lines))


KEYS = [
    Request("an empty key", keyed(b""), NO, "draft-ietf-httpapi-idempotency-key-header 2.1"),
    Request("two keys", keyed(b"a", b"b"), NO, "RFC 9110 5.3"),
    Request("a key of 101 letters", keyed(b"k" * 101), NO, "CWE-1284"),
    Request("a key that is no text", keyed(b"\xff\xfe"), NO, "RFC 9110 5.5"),
    Request("a key with a tab", keyed(b"a\tb"), NO, "RFC 9110 5.5"),
    Request("a key of another script", keyed("ключ".encode()), NO, "RFC 9110 5.5"),
]

FORM = b"multipart/form-data; boundary=x"


def part(head: bytes, body: bytes = b"%PDF-") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + body + b"\r\n"


def upload(body: bytes, kind: bytes = FORM) -> Callable[[], bytes]:
    return post(body, path=LANE, kind=kind)


FILE = part(b'name="file"; filename="a.pdf"')
UPLOADS = [
    Request("no boundary", upload(FILE + b"--x--", b"multipart/form-data"), (400, 422),
            "RFC 7578 4.1"),
    Request("another boundary", upload(FILE.replace(b"--x", b"--y")), (400, 404, 422),
            "RFC 2046 5.1.1"),
    Request("a boundary of 10 kB", upload(FILE, b"multipart/form-data; boundary=" + b"x" * 10_000),
            (400, 404, 422), "RFC 2046 5.1.1"),
    Request("no end", upload(FILE), (400, 404), "RFC 2046 5.1.1"),
    Request("an end in the middle", upload(FILE[:-10]), (400, 404, 422), "RFC 2046 5.1.1"),
    Request("a thousand parts", upload(part(b'name="a"', b"") * 1_000 + b"--x--"), (400,),
            "CVE-2023-30798"),
    Request("a thousand files", upload(FILE * 1_000 + b"--x--"), (400,), "CVE-2023-30798"),
    Request("a part of a megabyte", upload(part(b'name="note"', b"a" * 1_000_000) + b"--x--"),
            (400,),
            "CVE-2024-47874"),
    Request("a header of 100 kB in a part", upload(part(b'name="file"\r\nX: ' + b"a" * 100_000)
            + b"--x--"), (400, 404, 422), "CVE-2024-53981"),
    Request("a megabyte before the first part", upload(b"\r\n" * 500_000 + FILE + b"--x--"),
            (400, 404, 422), "CVE-2024-53981"),
    Request("no name", upload(part(b'filename="a.pdf"') + b"--x--"), (400, 404, 422),
            "RFC 7578 4.2"),
    Request("two names", upload(part(b'name="file"; name="note"; filename="a"') + b"--x--"),
            (400, 404, 422), "RFC 7578 4.2"),
    Request("a name with a line", upload(part(b'name="file"; filename="a\r\nX: y"') + b"--x--"),
            (400, 404, 422), "CWE-113"),
    Request("a name by another rule", upload(part(b"name=\"file\"; filename*=UTF-8''%2e%2e%2fa")
            + b"--x--"), (400, 404, 422), "RFC 7578 4.2, RFC 8187"),
    Request("a coded part", upload(part(b'name="file"; filename="a"\r\nContent-Transfer-Encoding: '
            b"base64") + b"--x--"), (400, 404, 422), "RFC 7578 4.7"),
    Request("parts within a part", upload(part(b'name="file"\r\nContent-Type: multipart/mixed; '
            b"boundary=y", b"--y--") + b"--x--"), (400, 404, 422), "RFC 7578 4.3"),
    Request("a form that is no form", upload(b"\xff" * 100, b"application/x-www-form-urlencoded"),
            (400, 404, 422), "WHATWG URL 5.1"),
    Request("a file alone", upload(b"%PDF-", b"application/pdf"), (400, 404, 415, 422),
            "RFC 9110 8.3"),
]  # fmt: skip

REQUESTS = [*FRAMING, *LINES, *PATHS, *QUERIES, *BODIES, *KEYS, *UPLOADS]
