"""The name of an upload is a word for people: it names no file of ours, and shows as it is."""

from dataclasses import dataclass

import pytest

from api.documents import clean_name


@dataclass(frozen=True)
class Name:
    """A name that somebody sends, what is kept of it, and where such names are described."""

    what: str
    sent: str
    kept: str
    source: str


NAMES = [
    Name("an ordinary name", "scan.pdf", "scan.pdf", "RFC 7578 4.2"),
    Name("a name in another script", "скан 扫描.pdf", "скан 扫描.pdf", "RFC 7578 5.1.3"),
    Name("nothing", "", "", "RFC 7578 4.2"),
    Name("a way up", "../../etc/passwd", "passwd", "CWE-24"),
    Name("a Windows way up", "..\\..\\boot.ini", "boot.ini", "CWE-28"),
    Name("both ways up", "..\\../x.pdf", "x.pdf", "CWE-36"),
    Name("a whole path", "/var/lib/cardflow/cardflow.db", "cardflow.db", "CWE-36"),
    Name("a drive", "C:\\fakepath\\scan.pdf", "scan.pdf", "HTML 4.10.5.1.17"),
    Name("another machine", "\\\\10.0.0.1\\share\\x.pdf", "x.pdf", "CWE-40"),
    Name("only a way up", "..", "..", "CWE-23"),
    Name("a directory", "scans/", "", "RFC 7578 4.2"),
    Name("an end within", "scan.pdf\0.exe", "scan.pdf.exe", "CWE-158"),
    Name("a header line", "x\r\nSet-Cookie: a=b", "xSet-Cookie: a=b", "CWE-113"),
    Name("a line separator", "x\u2028y\u2029.pdf", "xy.pdf", "UAX 14"),
    Name("colours of a terminal", "\x1b[31mred.pdf", "[31mred.pdf", "CWE-150"),
    Name("read backwards", "scan\u202efdp.exe", "scanfdp.exe", "CVE-2021-42574"),
    Name("isolated parts", "a\u2066b\u2069.pdf", "ab.pdf", "CVE-2021-42574"),
    Name("nothing to see", "a\u200b\u200c\ufeff.pdf", "a.pdf", "UTR 36 2.10"),
    Name("half a character", "a\ud800.pdf", "a.pdf", "CWE-176"),
    Name("no character", "a\uffff.pdf", "a.pdf", "CWE-176"),
    Name("a private character", "a\ue000.pdf", "a.pdf", "Unicode 23.5"),
    Name("a slash that looks like one", "a\u2215b.pdf", "a\u2215b.pdf", "UTS 39"),
    Name("a wide slash", "a\uff0fb.pdf", "a\uff0fb.pdf", "CWE-177"),
    Name("an escaped way up", "%2e%2e%2fx.pdf", "%2e%2e%2fx.pdf", "CWE-177"),
    Name("quotes", 'a";filename="b.exe', 'a";filename="b.exe', "CWE-116"),
    Name(
        "a page", "<img src=x onerror=alert(1)>.pdf", "<img src=x onerror=alert(1)>.pdf", "CWE-79"
    ),
    Name("a formula", "=cmd|'C'!A1.pdf", "=cmd|'C'!A1.pdf", "CWE-1236"),
    Name("a device of Windows", "NUL", "NUL", "CWE-67"),
    Name("another stream", "scan.pdf::$DATA", "scan.pdf::$DATA", "CWE-69"),
    Name("two endings", "scan.pdf.exe", "scan.pdf.exe", "CWE-434"),
    Name("4,000 letters", "a" * 4_000 + ".pdf", "a" * 255, "CWE-1284"),
    Name("piled-up marks", "a" + "\u0301" * 4_000, "a" + "\u0301" * 254, "UTR 36 2.9"),
]


@pytest.mark.parametrize("name", [pytest.param(each, id=each.what) for each in NAMES])
def test_what_is_kept_of_a_files_name(name: Name) -> None:
    assert clean_name(name.sent) == name.kept
    assert name.source
