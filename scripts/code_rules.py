"""Rules over syntax trees: each says of one node whether it breaks the rule."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """Something that code must not do, and why."""

    name: str
    because: str
    breaks: Callable[[ast.AST], bool]
    where: str = ""  # the folder it holds in


PIN = re.compile(r"(^|_)(pin|puk)s?$")
SECRET = re.compile(
    r"(^|_)(pin|puk|password|passphrase|secret|cookie|token|(private|signing|device|job|codec)_key)s?$"
)
COMPARED = re.compile(r"(^|_)(pin|puk|password|passphrase|secret|mac|hmac)$")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
OBJECTS_FROM_BYTES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}
WEAK_HASHES = {"md5", "sha1", "MD5", "SHA1", "MD4", "md4"}
WEAK_CIPHERS = {"ECB", "CBC", "CFB", "OFB", "ARC4", "TripleDES", "Blowfish", "IDEA", "CAST5"}
LISTENERS = {"listen", "create_server", "start_server", "start_unix_server", "serve_forever"}
PATTERNS = {"compile", "match", "search", "fullmatch", "sub", "subn", "findall", "finditer"}


def _name(node: ast.AST | None) -> str:
    """Return the last word of a name: ``self.door.token`` is called ``token``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _called(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) in names


def _is_false(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _given(node: ast.AST, name: str, value: object) -> bool:
    return isinstance(node, ast.keyword) and node.arg == name and (
        isinstance(node.value, ast.Constant) and node.value.value is value
    )  # fmt: skip


def _imports(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in names for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in names


def _guessable(node: ast.AST) -> bool:
    if not (_imports(node, {"random"}) and isinstance(node, ast.Import | ast.ImportFrom)):
        return False
    return [alias.name for alias in node.names] != ["SystemRandom"]


def _is_text(annotation: ast.AST | None) -> bool:
    return annotation is not None and any(_name(n) == "str" for n in ast.walk(annotation))


def _makes_text(node: ast.AST | None) -> bool:
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and bool(node.value)):
        return not isinstance(node, ast.Constant) or isinstance(node.value, str)
    return node is not None and _called(node, "decode", "input", "getpass", "str")


def _pin_as_text(node: ast.AST) -> bool:
    match node:
        case ast.arg():
            return bool(PIN.search(node.arg)) and _is_text(node.annotation)
        case ast.AnnAssign():
            return bool(PIN.search(_name(node.target))) and _is_text(node.annotation)
        case ast.Assign():
            return any(PIN.search(_name(t)) for t in node.targets) and _makes_text(node.value)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return bool(PIN.search(node.name)) and _is_text(node.returns)
    return False


def _unverified(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign) and any(_name(t) == "check_hostname" for t in node.targets):
        return _is_false(node.value)
    off = any(_given(node, name, False) for name in ("verify", "check_hostname", "ssl"))
    return off or _name(node) in {"CERT_NONE", "_create_unverified_context"}


def _shell(node: ast.AST) -> bool:
    return _given(node, "shell", True) or _called(node, *SHELLS)


def _runs_text(node: ast.AST) -> bool:
    builtins = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return builtins and _called(node, "eval", "exec", "compile", "__import__")


def _told(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a log line, a print or an exception is made of."""
    match node:
        case ast.Call(func=ast.Attribute(value=owner, attr=level)) if level in LEVELS:
            if _name(owner).lstrip("_") in {"log", "logger", "logging"}:
                yield from node.args + [keyword.value for keyword in node.keywords]
        case ast.Call(func=ast.Name(id="print")):
            yield from node.args
        case ast.Raise(exc=ast.Call() as made):
            yield from made.args


def _values(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the names whose values a text shows; ``token.serial`` shows the serial alone."""
    if isinstance(node, ast.Attribute | ast.Name):
        yield node
    elif isinstance(node, ast.Compare | ast.IfExp):
        return
    elif isinstance(node, ast.Call):
        for given in node.args:  # a digest or a count of a secret is told by other names
            if _called(node, "str", "repr", "decode", "format", "hex"):
                yield from _values(given)
    else:
        for inner in ast.iter_child_nodes(node):
            yield from _values(inner)


def _tells_secret(node: ast.AST) -> bool:
    return any(SECRET.search(_name(value)) for told in _told(node) for value in _values(told))


def _compares_secret(node: ast.AST) -> bool:
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    plain = any(isinstance(side, ast.Constant) for side in sides)
    equal = any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
    return equal and not plain and any(COMPARED.search(_name(side)) for side in sides)


def _composed(node: ast.AST) -> bool:
    """Tell whether a text is put together where it stands."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    return isinstance(node, ast.BinOp) or _called(node, "format", "join")


def _composed_sql(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    # A method called text is somebody else's; SQLAlchemy's is a function.
    is_text = _called(node, "text") and (isinstance(node.func, ast.Name) or _owner(node) == "sa")
    takes = is_text or _called(node, "execute", "exec_driver_sql", "executescript", "scalar")
    return takes and any(map(_composed, node.args[:1]))


def _owner(node: ast.Call) -> str:
    return _name(node.func.value) if isinstance(node.func, ast.Attribute) else ""


def _pattern_from_data(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return False
    if not (_name(node.func.value) == "re" and node.func.attr in PATTERNS):
        return False
    return not _is_own_pattern(node.args[0])


def _is_own_pattern(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        parts = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return all(_called(part, "escape") or _is_constant(part) for part in parts)
    if isinstance(node, ast.BinOp):
        return _is_own_pattern(node.left) and _is_own_pattern(node.right)
    return isinstance(node, ast.Constant) or _is_constant(node) or _called(node, "escape")


def _is_constant(node: ast.AST) -> bool:
    return _name(node).lstrip("_").isupper()


def _markup(node: ast.AST) -> bool:
    made = isinstance(node, ast.Call) and _called(node, "Markup") and node.args
    return bool(made) and not isinstance(node.args[0], ast.Constant)  # type: ignore[attr-defined]


RULES = (
    Rule("pin-as-text", "a str cannot be wiped; take agent.pin's buffer", _pin_as_text),
    Rule("unverified-tls", "a connection that trusts everybody is no connection", _unverified),
    Rule("objects-from-bytes", "bytes from elsewhere become JSON or nothing",
         lambda node: _imports(node, OBJECTS_FROM_BYTES)),
    Rule("shell", "programs are called with a list of arguments", _shell),
    Rule("text-as-code", "no text is run", _runs_text),
    Rule("told-secret", "a secret would stay in a log or an error; name it, do not tell it",
         _tells_secret),
    Rule("random", "what can be guessed protects nothing; use secrets", _guessable),
    Rule("compared-secret", "== stops at the first difference; use hmac.compare_digest",
         _compares_secret),
    Rule("composed-sql", "values are bound, never written into the statement", _composed_sql),
    Rule("pattern-from-data", "a pattern is ours; data in it goes through re.escape",
         _pattern_from_data),
    Rule("markup-from-data", "only a text of ours is markup", _markup),
    Rule("weak-hash", "MD5 and SHA-1 have known collisions",
         lambda node: _name(node) in WEAK_HASHES),
    Rule("weak-cipher", "encryption is AES-GCM: nothing is read that was changed",
         lambda node: isinstance(node, ast.Attribute) and node.attr in WEAK_CIPHERS),
    Rule("redirects", "whoever answers must not choose whom we ask next",
         lambda node: any(_given(node, f"{word}_redirects", True) for word in ("follow", "allow"))),
    Rule("xml", "XML is not parsed: entities and sizes of others would be",
         lambda node: _imports(node, {"xml", "lxml", "xmltodict"})),
    Rule("listening", "the agent opens no port", lambda node: _called(node, *LISTENERS), "agent/"),
)  # fmt: skip
