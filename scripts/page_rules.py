"""Rules over templates and scripts: what would let a text run, or leave something in a browser."""

import re
from dataclasses import dataclass
from typing import Final

FOLDERS: Final = ("api/web/templates", "api/web/static/own", "cardflow/mail/templates")


@dataclass(frozen=True)
class PageRule:
    """Something that a line of a page must not hold."""

    name: str
    because: str
    pattern: re.Pattern[str]
    endings: tuple[str, ...]


_PAGES = (".html", ".j2")
RULES = (
    PageRule(
        "unescaped",
        "every value is escaped where it is shown; `safe` would let it be markup",
        re.compile(r"\|\s*safe\b|autoescape\s+false|\{%-?\s*raw\b"),
        _PAGES,
    ),
    PageRule(
        "inline-script",
        "scripts come from files; the policy of pages runs no attribute and no javascript: link",
        re.compile(r"\son[a-z]{3,}\s*=\s*[\"']|javascript:|<script(?![^>]*\bsrc=)[^>]*>", re.I),
        _PAGES,
    ),
    PageRule(
        "foreign-file",
        "pages load what we serve and nothing else",
        re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*=\s*[\"']?(?:https?:)?//"),
        _PAGES,
    ),
    PageRule(
        "text-as-markup",
        "a text becomes a text node; markup comes from the server's templates only",
        re.compile(r"\.(?:innerHTML|outerHTML)\b|insertAdjacentHTML|document\.write"),
        (".js",),
    ),
    PageRule(
        "text-as-code",
        "nothing that was read is run",
        re.compile(r"\beval\s*\(|new\s+Function\b|set(?:Timeout|Interval)\s*\(\s*[\"'`]"),
        (".js",),
    ),
    PageRule(
        "kept-in-browser",
        "what a page knows goes when the sign-in goes; the browser keeps the cookie alone",
        re.compile(r"\b(?:localStorage|sessionStorage|indexedDB|document\.cookie)\b"),
        (".js",),
    ),
    PageRule(
        "other-windows",
        "pages exchange no messages with other windows",
        re.compile(r"\bpostMessage\b|addEventListener\(\s*[\"']message[\"']"),
        (".js",),
    ),
    PageRule(
        "prototype",
        "objects are not filled under names that came from elsewhere",
        re.compile(r"__proto__|\.prototype\b|\bfor\s*\([^)]*\bin\b"),
        (".js",),
    ),
)
