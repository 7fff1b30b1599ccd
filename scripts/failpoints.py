"""Every failpoint that the product has, read from its source, and every effect that has none.

An effect is a call that changes the world outside of its process: it must stand inside of
``with effect("name")`` (cardflow/failpoints.py), or say at its end why it need not,
``# no failpoint: <reason>``.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from scripts.findings import report

ROOT = Path(__file__).resolve().parents[1]
OURS = ("agent", "api", "activities", "cardflow", "workflows")
DOOR = ("api/agents.py", "api/agent_keys.py", "api/agent_forms.py")
EFFECTS = {
    # Temporal
    "execute_update": "api",
    "start_workflow": "api",
    "signal": "api",
    "poll_activity_task_queue": "api",
    "record_activity_task_heartbeat": "api",
    "respond_activity_task_completed": "api",
    "respond_activity_task_failed": "api",
    "execute_activity": "activities",
    # database, files, mail
    "commit": "",
    "put": "api",
    "export": "api",
    "send_message": "activities",
    "mark": "activities",
    "fsync": "agent",
    # the CA
    "sign_draft": "cardflow/ca",
    "replace_file": "cardflow/ca/embedded/responder.py",
    "merge": "cardflow/ca",
    # the agent and its card process
    "request": "agent/door.py",
    "start": "agent/visits.py",
    "ask": "agent/login.py",
    "open": "agent/login.py",
    "generate_keypair": "agent",
    "create_object": "agent",
    "destroy": "agent",
    "sign_form": "agent",
}
DECIDED_BY = (
    "cardflow/ca/embedded",
    "cardflow/db/update_record.py",
    "cardflow/db/ca_record.py",
    "api/actions.py",
    "api/ca.py",
    "api/handing_in.py",
    "api/form_printing.py",
)
WRITES = {"add", "add_all", "merge", "delete", "decide", "begin", "publish", "append", "register"}
EXCUSED = re.compile(r"# no failpoint: \S")
DECLARED = ("activities/card.py",)  # carried out by the agent


@cache
def points() -> frozenset[str]:
    """Return the names of all failpoints."""
    effects = {name for path in _files() for name in _named_in(path)} | _activities() | _requests()
    return frozenset(f"{effect}.{moment}" for effect in effects for moment in ("before", "done"))


def _files() -> Iterator[Path]:
    for folder in OURS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _named_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and _word(node.func) == "effect"):
            continue
        if isinstance(name := node.args[0], ast.Constant):
            yield str(name.value)


def _is_effect(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _word(node.func) == "effect"


def _word(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _activities() -> set[str]:
    """Return ``worker.<activity>``: the interceptor stands around each of them."""
    return {
        f"worker.{node.name}"
        for path in sorted((ROOT / "activities").rglob("*.py"))
        if str(path.relative_to(ROOT)) not in DECLARED
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFunctionDef)
        and any(ast.unparse(decorator) == "activity.defn" for decorator in node.decorator_list)
    }


def _requests() -> set[str]:
    """Return ``agent.<method>_<address>``: the agent's door stands around each request."""
    return {
        f"agent.{_word(decorator.func)}_{str(decorator.args[0].value).strip('/')}"
        for path in DOOR
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.AsyncFunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and ast.unparse(decorator.func).startswith("router.")
        and isinstance(decorator.args[0], ast.Constant)
    }


# What has none


def without(path: str, source: str) -> list[str]:
    """Return the effects in a file that no failpoint stands around."""
    tree, lines = ast.parse(source), source.splitlines()
    covered = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and any(_is_effect(item.context_expr) for item in node.items)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return [
        f"{path}:{node.lineno}: {what} changes the world and has no failpoint"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call | ast.AsyncWith)
        and (what := _changing(path, node))
        and node.lineno not in covered
        and not any(EXCUSED.search(x) for x in lines[node.lineno - 1 : node.end_lineno])
    ]


def _changing(path: str, node: ast.AST) -> str:
    """Return what the node does to the world, if it does."""
    if isinstance(node, ast.Call):
        name = _word(node.func)
        if name in EFFECTS and path.startswith(EFFECTS[name]) and not _is_about_a_name(node):
            return name
    if isinstance(node, ast.AsyncWith) and path.startswith(DECIDED_BY) and _commits(node):
        return "a transaction"
    return ""


def _is_about_a_name(node: ast.Call) -> bool:
    """Tell whether a word means something else here: decorators, futures, tasks."""
    owner = ast.unparse(node.func).rpartition(".")[0]
    return owner in ("router", "state.background", "signal", "asyncio", "loop", "path")


def _commits(node: ast.AsyncWith) -> bool:
    if not any(ast.unparse(item.context_expr).startswith("transaction(") for item in node.items):
        return False
    inside = [child for line in node.body for child in ast.walk(line)]
    writes = any(isinstance(x, ast.Call) and _word(x.func) in WRITES for x in inside)
    sets = any(
        isinstance(x, ast.Assign) and any(isinstance(t, ast.Attribute) for t in _targets(x))
        for x in inside
    )
    return writes or sets


def _targets(node: ast.Assign) -> Iterator[ast.AST]:
    for target in node.targets:
        yield from target.elts if isinstance(target, ast.Tuple) else [target]


def everywhere() -> Iterator[str]:
    """Yield every effect of the product that has no failpoint."""
    for path in _files():
        yield from without(str(path.relative_to(ROOT)), path.read_text())


def main() -> int:
    """Print every effect without a failpoint; return 1 if there is one."""
    return report(everywhere())


if __name__ == "__main__":
    sys.exit(main())
