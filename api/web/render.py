"""Pages: a template, the person who looks, and their language make one HTML answer."""

import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from cryptography.x509 import Name
from cryptography.x509.oid import NameOID
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.datastructures import URL
from structlog.contextvars import get_contextvars

from api.auth import is_https
from api.authorize import Caller, Permission, grants
from api.problems import TITLES, Problem
from api.state import state_of
from api.web.tongue import N_, Tongue, languages
from api.web.words import word_of
from cardflow.decisions import utc_now

HERE = Path(__file__).parent
NOTICE = "cardflow-notice"
LONGEST_NOTICE = 500
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types htmx"
)


@dataclass(frozen=True)
class Link:
    """An entry of the main menu: who lacks the permission for others' things does not see it."""

    path: str
    words: str
    permission: Permission
    any_scope: bool = True


MENU = (
    Link("/cards", N_("My cards"), Permission.CONTINUE_UPDATE, any_scope=False),
    Link("/work", N_("Work"), Permission.DECIDE_DOCUMENT),
    Link("/ca/requests", N_("CA requests"), Permission.SEE_REQUESTS),
    Link("/updates", N_("Updates"), Permission.SEE_UPDATES),
    Link("/register/cards", N_("Cards"), Permission.SEE_CARDS),
    Link("/people", N_("People"), Permission.SEE_PEOPLE),
    Link("/certificates", N_("Certificates"), Permission.SEE_CERTIFICATES),
    Link("/policies", N_("Policies"), Permission.MANAGE_POLICIES),
    Link("/agents", N_("Agents"), Permission.SEE_AGENTS),
    Link("/audit", N_("Audit"), Permission.SEE_AUDIT),
    Link("/health", N_("Health"), Permission.MANAGE_POLICIES),
)


def menu_of(caller: Caller | None) -> list[Link]:
    """Return the menu's entries for this person."""
    if caller is None or caller.must_change_password:
        return []
    return [link for link in MENU if _is_for(caller, link)]


def _is_for(caller: Caller, link: Link) -> bool:
    found = grants(caller, link.permission)
    return any((grant.scope == "any") is link.any_scope for grant in found)


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    problem: Problem | None = None,
    given: Mapping[str, Any] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Return a page in the language of whoever looks.

    ``problem`` is shown at the top and sets the status; ``given`` is what they had typed.
    """
    nonce = secrets.token_urlsafe(16)
    caller = getattr(request.state, "caller", None)
    html = ENVIRONMENT.get_template(template).render(
        context,
        request=request,
        caller=caller,
        viewer=caller,  # inside of a macro, Jinja gives "caller" a meaning of its own
        tongue=tongue_of(request),
        settings=state_of(request).settings,
        menu=menu_of(caller),
        nonce=nonce,
        problem=problem,
        given=defaultdict(str, given or {}),
        notice=unquote(request.cookies.get(notice_name(request), "")),
        now=utc_now(),
        new_key=secrets.token_hex(16),
        languages=languages(),
    )
    answer = HTMLResponse(html, problem.status if problem else status)
    answer.headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
    answer.headers["Vary"] = "Cookie, Accept-Language"
    if (name := notice_name(request)) in request.cookies:
        answer.delete_cookie(name, secure=_is_secure(request))
    return answer


def go(request: Request, path: str, notice: str = "") -> RedirectResponse:
    """Send the browser on after a form, with a sentence to be shown there."""
    answer = RedirectResponse(path, 303)
    if notice:
        said = tongue_of(request).sentence(notice)[:LONGEST_NOTICE]
        answer.set_cookie(
            notice_name(request),
            quote(said),
            max_age=60,
            httponly=True,
            samesite="lax",
            secure=_is_secure(request),
        )
    return answer


def local(path: str) -> str:
    """Return the path if it is one of ours, else the first page: nobody is led elsewhere."""
    ours = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if ours and path.isprintable() else "/"  # browsers drop tabs and line breaks


def notice_name(request: Request) -> str:
    """Return the name of the cookie that carries a sentence to the next page."""
    return f"__Host-{NOTICE}" if _is_secure(request) else NOTICE


def _is_secure(request: Request) -> bool:
    return is_https(state_of(request).settings)


def tongue_of(request: Request) -> Tongue:
    """Return the language and zone of the person, else of their browser, else of the house."""
    kept = getattr(request.state, "tongue", None)
    if isinstance(kept, Tongue):
        return kept
    settings = state_of(request).settings
    caller = getattr(request.state, "caller", None)
    zone = (caller.time_zone if caller else "") or settings.default_time_zone
    tongue = Tongue(_language(request, caller, settings.default_language), ZoneInfo(zone))
    if caller:
        request.state.tongue = tongue
    return tongue


def _language(request: Request, caller: Caller | None, default: str) -> str:
    wanted = [caller.language] if caller else []
    accepted = request.headers.get("accept-language", "").split(",")
    wanted += [word.partition(";")[0].strip().lower()[:2] for word in accepted]
    return next((word for word in wanted if word in languages()), default)


# What templates may call


@pass_context
def _say(context: Context, text: str, **values: object) -> str:
    said: str = context["tongue"].say(text)
    # As Markup: a value may be a <time>; every other one is escaped here.
    return Markup(said).format(**values) if values else said  # noqa: S704 # allowed: markup-from-data: a catalogue's own


@pass_context
def _count(context: Context, one: str, many: str, number: int, **values: object) -> str:
    tongue: Tongue = context["tongue"]
    return tongue.count(one, many, number).format(n=tongue.number(number), **values)


@pass_context
def _sentence(context: Context, text: str) -> str:
    said: str = context["tongue"].sentence(text)
    return said


@pass_context
def _word(context: Context, value: str) -> str:
    """Return what people call a value of one of the core's lists."""
    said: str = context["tongue"].say(word_of(value))
    return said


@pass_context
def _moment(context: Context, instant: Any) -> Markup:
    """Return an instant as a <time> element: exact for machines, local for people."""
    if instant is None:
        return Markup("–")
    shown = context["tongue"].moment(instant)
    return Markup('<time datetime="{}">{}</time>').format(instant.isoformat(), shown)


@pass_context
def _day(context: Context, instant: Any) -> Markup:
    if instant is None:
        return Markup("–")
    shown = context["tongue"].day(instant)
    return Markup('<time datetime="{}">{}</time>').format(instant.isoformat(), shown)


@pass_context
def _ago(context: Context, instant: Any) -> Markup:
    """Return how long ago an instant was, or how long until it."""
    tongue, now = context["tongue"], context["now"]
    span = tongue.span(abs(now - instant))
    words = tongue.say("{span} ago") if instant <= now else tongue.say("in {span}")
    shown = words.format(span=span)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        instant.isoformat(), tongue.moment(instant), shown
    )


@pass_context
def _url(context: Context, **changes: object) -> str:
    """Return the address of this page with other query values; an empty value leaves one out."""
    url: URL = context["request"].url.include_query_params(**changes)
    gone = [key for key, value in changes.items() if value in (None, "")]
    url = url.remove_query_params(gone) if gone else url
    return f"{url.path}?{url.query}" if url.query else url.path


def _common_name(text: str) -> str:
    """Return the name that an RFC 4514 subject is commonly known by."""
    try:
        found = Name.from_rfc4514_string(text).get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return text
    return str(found[0].value) if found else text


@pass_context
def _kilobytes(context: Context, size: int) -> str:
    """Return a file's size as people say it."""
    shown: str = context["tongue"].number(max(1, round(size / 1000)))
    return f"{shown} kB"


def _grouped(digits: str) -> str:
    """Return hex digits in fours, as forms print them and people compare them."""
    upper = digits.upper()
    return " ".join(upper[start : start + 4] for start in range(0, len(upper), 4))


def _asset(name: str) -> str:
    return f"/static/{name}?v={VERSIONS[name]}"


def _versions() -> dict[str, str]:
    static = HERE / "static"
    return {
        str(path.relative_to(static)): sha256(path.read_bytes()).hexdigest()[:12]
        for path in static.rglob("*")
        if path.is_file()
    }


VERSIONS = _versions()
ENVIRONMENT = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.globals |= {
    "_": _say,
    "ngettext": _count,
    "asset": _asset,
    "url_with": _url,
    "kilobytes": _kilobytes,
    "grouped": _grouped,
    "instant": datetime.fromisoformat,
    "may": lambda caller, name: bool(grants(caller, Permission(name))),
    "title_of": lambda problem: TITLES[problem.status][1],
    "request_id": lambda: get_contextvars().get("request_id", ""),
}
ENVIRONMENT.filters |= {
    "sentence": _sentence,
    "word": _word,
    "moment": _moment,
    "day": _day,
    "ago": _ago,
    "common_name": _common_name,
}
