"""Every failpoint that the product has, read from its source, and every effect that has none.

An effect is a call that changes the world outside of its process: it must stand inside of
``with effect("name")`` (cardflow/failpoints.py), or say at its end why it need not,
``# no failpoint: <reason>``. Modules that only make single commits which nothing follows are named
once, in ``ONE_COMMIT``: whoever dies there leaves one whole or not at all.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

from scripts.findings import report

ROOT = Path(__file__).resolve().parents[1]
OURS = ("agent", "api", "activities", "cardflow", "workflows", "cli", "worker.py")
DOOR = ("api/agents.py", "api/agent_keys.py", "api/agent_forms.py")
EFFECTS = {
    # Temporal
    "execute_update": "",
    "start_workflow": "",
    "execute_workflow": "",
    "signal": "",
    "terminate": "",
    "create_schedule": "",
    "poll_activity_task_queue": "",
    "record_activity_task_heartbeat": "",
    "respond_activity_task_completed": "",
    "respond_activity_task_failed": "",
    "execute_activity": "activities",  # workflows order it by the same word
    # database, files, mail
    "commit": "",
    "put": "api",
    "export": "api",
    "send_message": "",
    "mark": "activities",
    "fsync": "agent",
    "write_secret": "agent",
    "forget_secret": "agent",
    "replace": "agent",
    "rename": "agent",
    "unlink": "agent",
    "copyfile": "agent",
    # the CA
    "sign_draft": "",
    "replace_file": "cardflow/ca/embedded/responder.py",  # the setup of a CA is nobody's update
    "merge": "cardflow/ca",
    # the agent and its card process
    "request": "agent/door.py",
    "start": "agent/visits.py",
    "ask": "agent/login.py",
    "open": "agent/login.py",
    "generate_keypair": "agent",
    "create_object": "agent",
    "copy_object": "agent",
    "destroy": "agent",
    "sign_form": "agent",
}
TRANSACTIONS = ("transaction", "committed", "begin")
ONE_COMMIT = {
    "api/back_channel.py": "the provider says again what was not answered",
    "api/evidence.py": "who is not given the pack asks again, and that is on record too",
    "api/housekeeping.py": "what was not forgotten is forgotten the next time",
    "api/readings.py": "who is not given a history asks again, and that is on record too",
    "api/web/": "a person sends the form again, whole or not at all the first time",
    "cli/first_admin.py": "the command, given again, says what became of it",
}
AFTERWARDS = {"send_soon"}  # begins something, beside what has a point of its own
NAMED_BY = {  # effects whose names nothing but the running process knows, found in their own way
    "activities/failures.py": "f'worker.{input.fn.__name__}'",
    "agent/door.py": "_named(method, path)",
}
EXCUSED = re.compile(r"# no failpoint: \S")
DECLARED = ("activities/card.py",)  # carried out by the agent


@cache
def points() -> frozenset[str]:
    """Return the names of all failpoints."""
    effects = {name for path in _files() for name in _named_in(path)} | _activities() | _requests()
    return frozenset(f"{effect}.{moment}" for effect in effects for moment in ("before", "done"))


def _files() -> Iterator[Path]:
    for name in OURS:
        yield from sorted((ROOT / name).rglob("*.py")) if (ROOT / name).is_dir() else [ROOT / name]


def _named_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if _is_effect(node) and isinstance(name := node.args[0], ast.Constant):
            yield str(name.value)


def _is_effect(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and _word(node.func) == "effect"


def _word(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _activities() -> set[str]:
    """Return ``worker.<activity>``: the interceptor stands around each of them."""
    return {
        f"worker.{name}"
        for path in sorted((ROOT / "activities").rglob("*.py"))
        if str(path.relative_to(ROOT)) not in DECLARED
        for name in activities_in(path.read_text())
    }


def activities_in(source: str) -> set[str]:
    """Return the functions that are activities, whatever Temporal calls them."""
    return {
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(ast.unparse(d).partition("(")[0] == "activity.defn" for d in node.decorator_list)
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


@dataclass(frozen=True)
class Effect:
    """Something in a file that changes the world."""

    node: ast.Call | ast.AsyncWith
    what: str
    is_bare: bool  # nothing stands around it, and nothing excuses it

    @property
    def is_transaction(self) -> bool:
        return isinstance(self.node, ast.AsyncWith)


def without(path: str, source: str) -> list[str]:
    """Return what is wrong in a file: effects that no failpoint stands around, unknown names."""
    tree = ast.parse(source)
    effects = _effects_in(path, tree, source.splitlines())
    wrong = [*_unnamed(path, tree)]
    bare = [one for one in effects if one.is_bare]
    if _class_of(path):
        wrong += _followed(tree, effects)
        bare = [one for one in bare if not one.is_transaction]
    missing = ((one.node.lineno, f"{one.what} changes the world") for one in bare)
    wrong += [(line, f"{what} and has no failpoint") for line, what in missing]
    return [f"{path}:{line}: {what}" for line, what in wrong]


def _effects_in(path: str, tree: ast.Module, lines: list[str]) -> list[Effect]:
    covered = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and any(_is_effect(item.context_expr) for item in node.items)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return [
        Effect(node, what, node.lineno not in covered and not _is_excused(node, lines))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call | ast.AsyncWith) and (what := _changing(path, node))
    ]


def _is_excused(node: ast.Call | ast.AsyncWith, lines: list[str]) -> bool:
    """Tell whether a reason is given at a call, or at the head of a transaction."""
    end = node.body[0].lineno - 1 if isinstance(node, ast.AsyncWith) else node.end_lineno
    return any(EXCUSED.search(line) for line in lines[node.lineno - 1 : end])


def _changing(path: str, node: ast.AST) -> str:
    """Return what the node does to the world, if it does."""
    if isinstance(node, ast.Call):
        name = _word(node.func)
        if (
            name in EFFECTS
            and path.startswith(EFFECTS[name])
            and not _is_about_something_else(node)
        ):
            return name
    if isinstance(node, ast.AsyncWith) and any(_may_write(item) for item in node.items):
        return "a transaction"
    return ""


def _is_about_something_else(node: ast.Call) -> bool:
    """Tell whether a word means something else here: decorators, signals, tasks, texts."""
    owner, _, name = ast.unparse(node.func).rpartition(".")
    if name == "replace":  # a file's takes one argument; texts' and dataclasses' do not
        return not owner or len(node.args) != 1
    return owner in ("router", "workflow", "signal", "process", "path")


def _may_write(item: ast.withitem) -> bool:
    """Tell whether it is a transaction that is committed, on sessions that may write."""
    call = item.context_expr
    if not (isinstance(call, ast.Call) and _word(call.func) in TRANSACTIONS):
        return False
    return not (call.args and _word(call.args[0]).endswith("reads"))


def _unnamed(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the effects whose names no reader of the source can know."""
    if not any(
        isinstance(node, ast.ImportFrom)
        and node.module == "cardflow.failpoints"
        and any(name.name == "effect" for name in node.names)
        for node in ast.walk(tree)
    ):
        return
    for node in ast.walk(tree):
        if not _is_effect(node) or isinstance(node.args[0], ast.Constant):
            continue
        if ast.unparse(node.args[0]) != NAMED_BY.get(path):
            yield node.lineno, "the name of a failpoint is not written out"


# One commit that nothing follows


def _class_of(path: str) -> str:
    """Return the entry of ``ONE_COMMIT`` that a file falls under."""
    return next((entry for entry in ONE_COMMIT if path.startswith(entry)), "")


def _followed(tree: ast.Module, effects: list[Effect]) -> Iterator[tuple[int, str]]:
    """Yield the functions whose one commit is not all that they do, by themselves or each other."""
    functions = {node.name: node for node in ast.walk(tree) if _is_function(node)}
    commits = {id(one.node) for one in effects if one.is_transaction and one.is_bare}
    others = {id(one.node) for one in effects if not one.is_transaction and one.is_bare}
    for function in functions.values():
        nodes = list(_reached(function, functions))
        made = sum(id(node) in commits for node in nodes)
        more = sum(id(node) in others or _begins(node) for node in nodes)
        if made and made + more > 1:
            yield function.lineno, f"{function.name} is no single commit that nothing follows"


def _begins(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and (_is_effect(node) or _word(node.func) in AFTERWARDS)


def _is_function(node: ast.AST) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _reached(function: ast.AST, functions: Mapping[str, ast.AST]) -> Iterator[ast.AST]:
    """Yield what is done in a function, and in those of the same file that it calls."""
    known, waiting = {id(function)}, [function]
    while waiting:
        for node in _own(waiting.pop()):
            yield node
            called = functions.get(_called_here(node))
            if called and id(called) not in known:
                known.add(id(called))
                waiting.append(called)


def _own(function: ast.AST) -> Iterator[ast.AST]:
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not _is_function(node):
            waiting += ast.iter_child_nodes(node)


def _called_here(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    owner, _, name = ast.unparse(node.func).rpartition(".")
    return name if owner in ("", "self") else ""


def idle(files: Mapping[str, str]) -> list[str]:
    """Return the entries of ``ONE_COMMIT`` and ``NAMED_BY`` that excuse nothing in these files."""
    used: set[str] = set()
    for path, source in files.items():
        tree = ast.parse(source)
        effects = _effects_in(path, tree, source.splitlines())
        used |= {_class_of(path) for one in effects if one.is_transaction and one.is_bare}
        names = {ast.unparse(node.args[0]) for node in ast.walk(tree) if _is_effect(node)}
        used |= {path} if NAMED_BY.get(path) in names else set()
    return [
        f"{entry}: it is excused in scripts/failpoints.py, and needs no excuse"
        for entry in (*ONE_COMMIT, *NAMED_BY)
        if entry not in used
    ]


def everywhere() -> Iterator[str]:
    """Yield every effect of the product that has no failpoint, and every excuse for nothing."""
    files = {str(path.relative_to(ROOT)): path.read_text() for path in _files()}
    for path, source in files.items():
        yield from without(path, source)
    yield from idle(files)


def main() -> int:
    """Print every effect without a failpoint; return 1 if there is one."""
    return report(everywhere())


if __name__ == "__main__":
    sys.exit(main())
