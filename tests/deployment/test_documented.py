"""Every command that the documents tell people to give is one that exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli.__main__ import app
from tests.deployment.files import DEPLOY, ROOT

PAGES = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
SERVICES = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
SUBCOMMANDS = {"build", "exec", "logs", "ps", "restart", "run", "stop", "up"}
ONE_SERVICE = {"exec", "run"}  # what follows is the command in it
TAKE_VALUE = {"--tail", "--entrypoint", "--profile", "-e"}
# Modules that are commands of their own, with what may follow.
PROGRAMS = {"cli": None, "cli.secrets": {"change-decision", "change-job"}, "agent": None}


def pieces(text: str) -> Iterator[str]:
    """Yield each line of code in a page, whole, and each span of code."""
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))


def told() -> list[tuple[Path, list[str]]]:
    """Return every command in the documents as words, and where it stands."""
    found = []
    for page in PAGES:
        for piece in pieces(page.read_text()):
            command = re.split(r" #| &&|\||;|>", piece)[0]
            command = re.sub(r"^(\w+=\S+ )+", "", command)
            if re.match(r"(docker-compose|cardflow|\S*python -m) ", command):
                found.append((page, shlex.split(command.replace("…", ""))))
    return found


def of(program: str) -> list[list[str]]:
    return [words[1:] for _, words in told() if words[0] == program]


def positional(words: list[str]) -> list[str]:
    """Return what is neither an option nor an option's value, of docker-compose."""
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith("-") and before not in TAKE_VALUE
    ]


def in_containers() -> list[list[str]]:
    """Return what is run in a service, from its name on."""
    found = []
    for words in of("docker-compose"):
        subcommand, *rest = positional(words)
        if subcommand in ONE_SERVICE and "--entrypoint" not in words:
            found.append(words[words.index(rest[0]) :])
    return found


def our_commands() -> list[list[str]]:
    inside = [words[2:] for words in in_containers() if words[1:2] == ["cardflow"]]
    checkout = [words[3:] for _, words in told() if words[1:3] == ["-m", "cli"] and len(words) > 3]
    return [*of("cardflow"), *inside, *checkout]


def test_there_is_enough_to_look_at() -> None:
    assert len(of("docker-compose")) > 40
    assert len(our_commands()) > 30
    assert len(in_containers()) > 12


def test_docker_compose_is_told_of_services_that_exist() -> None:
    for words in of("docker-compose"):
        subcommand, *rest = positional(words)
        assert subcommand in SUBCOMMANDS, words
        assert set(rest[:1] if subcommand in ONE_SERVICE else rest) <= SERVICES, words
        if "--profile" in words:
            assert words[words.index("--profile") + 1] == "tools"


def test_cardflow_is_only_called_where_it_works() -> None:
    """The processes' containers have neither pg_dump nor keys that can be written."""
    ours = {path.name for path in (DEPLOY / "bin").iterdir()} | {"python"}
    for service, *command in in_containers():
        if command and command[0] in ours:
            assert service == "tools", command
    for words in in_containers():
        assert not words[1].startswith("cardflow") or words[1] in ours, words


@pytest.mark.parametrize("words", our_commands(), ids=" ".join)
def test_every_command_of_ours_exists_with_its_options(words: list[str]) -> None:
    _, apps, rest = app.parse_commands([word for word in words if word != "--help"])
    leaf = apps[-1]

    assert leaf is not app or words == ["--help"], "no such command"
    if leaf.default_command:
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert given <= {name for one in leaf.assemble_argument_collection() for name in one.names}
    else:
        assert not rest, "no such command in this group"


def test_what_is_typed_in_containers_lacks_no_option() -> None:
    for words in (words[2:] for words in in_containers() if words[1] == "cardflow"):
        _, apps, rest = app.parse_commands(words)
        if apps[-1].default_command and "--help" not in words:
            needed = [one for one in apps[-1].assemble_argument_collection() if one.required]
            assert {one.names[0] for one in needed if one.index is None} <= set(rest), words
            assert len([one for one in needed if one.index is not None]) <= len(rest), words


def test_every_module_that_is_run_exists() -> None:
    for _, words in told():
        if words[1:2] == ["-m"] and words[2].split(".")[0] in ("cli", "agent", "api", "scripts"):
            path = ROOT / words[2].replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").exists(), words
            if (known := PROGRAMS.get(words[2])) is not None:
                assert set(words[3:]) <= known, words
