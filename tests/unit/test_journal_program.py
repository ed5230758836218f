"""The node's program itself: what every shell, and every reader, must find in it."""

from __future__ import annotations

import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from nodeproof.operations.journal import _PARTS, Kind, program

FOLDER = Path(str(files("nodeproof") / "node"))
PARTS = sorted(FOLDER.glob("*.sh"))
FUNCTION = re.compile(r"^(\w+)\(\) \{(.*)$")
# What is assigned: at the start of a command, by `read`, or by a loop.
START = re.compile(
    r"(?:^|[;&|({!]|\b(?:do|then|else|export))\s*((?:[a-z_]\w*=[^\s;]*(?:\s+|;|$))+)", re.M
)
READ = re.compile(r"\bread -r ([a-z_][a-z_ ]*)")
LOOP = re.compile(r"\bfor ([a-z]\w*) in\b")
CEILING = {"module": 300, "function": 30}


def functions(text: str) -> dict[str, str]:
    """Return the body of each function of a part, its comments left out."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if match := FUNCTION.match(line):
            name, rest = match.groups()
            rest = re.sub(r"^ #.*", "", rest)
            found[name] = rest.removesuffix("}") if "}" in rest else rest
            if re.search(r"\}\s*(#.*)?$", rest):
                name = ""
        elif line == "}":
            name = ""
        elif name:
            found[name] += "\n" + line
    return found


def without_texts(body: str) -> str:
    """Return a body without what is in quotes, here-documents or comments, or put in by `$()`."""
    body = re.sub(r"<<(\w+).*?\n\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    body = re.sub(r"(^|\s)#.*", r"\1", re.sub(r"'[^']*'", "''", body))
    for _ in range(4):
        body = re.sub(r'"[^"()]*"', '""', re.sub(r"\$\([^()]*\)", "$", body))
    return re.sub(r"\\\n\s*", " ", body)


ALL = {name: body for part in PARTS for name, body in functions(part.read_text()).items()}


def undeclared(body: str) -> set[str]:
    body = without_texts(body)
    declared: set[str] = set()
    for line in re.findall(r"\blocal ([^;\n]*)", body):
        declared |= {word.partition("=")[0] for word in line.split()}
    rest = re.sub(r"\blocal [^;\n]*", "", body)
    used = set(LOOP.findall(rest))
    for words in START.findall(rest):
        used |= {word.partition("=")[0] for word in re.split(r"[\s;]+", words) if "=" in word}
    for names in READ.findall(rest):
        used |= set(names.split())
    return used - declared - {"_"}


def test_every_part_is_in_the_program() -> None:
    assert {part.stem for part in PARTS} == set(_PARTS)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_shells_can_read_it(shell: str) -> None:
    done = subprocess.run([shell, "-n"], input=program(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_every_kind_of_item_has_its_functions() -> None:
    for verb in ("state", "save", "restore"):
        found = {name.removeprefix(f"{verb}_") for name in ALL if name.startswith(f"{verb}_")}
        assert found == set(Kind), verb


def test_no_function_is_there_twice() -> None:
    names = re.findall(r"^(\w+)\(\) \{", program().decode(), flags=re.MULTILINE)
    assert sorted(names) == sorted(ALL)


@pytest.mark.parametrize("name", sorted(ALL))
def test_variables_are_local(name: str) -> None:
    """A variable in sh belongs to all functions; those for all have names in capitals."""
    assert undeclared(ALL[name]) == set()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("x=1", {"x"}),
        ("    x=$(cat y) z=2", {"x", "z"}),
        ("local x\n    x=1", set()),
        ("local x=$1 y", set()),
        ("local x=$(a b)\n y=2", {"y"}),
        ("for x in 1 2; do :; done", {"x"}),
        ("while read -r x y; do :; done", {"x", "y"}),
        ("[ a ] && x=1", {"x"}),
        ("if a; then x=1; fi", {"x"}),
        ("awk 'x = 1; y=2'", set()),
        ("X=1", set()),
        ("a --x=1 key=value", set()),
        ("_=1", set()),
    ],
)
def test_a_variable_that_is_not_local_is_found(body: str, names: set[str]) -> None:
    assert undeclared(body) == names


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_parts_are_short(part: Path) -> None:
    lines = part.read_text().splitlines()
    assert len(lines) <= CEILING["module"]
    assert lines[0] == "# shellcheck shell=dash"


@pytest.mark.parametrize("name", sorted(ALL))
def test_functions_are_short(name: str) -> None:
    assert ALL[name].count("\n") <= CEILING["function"]


def test_texts_of_others_are_not_interpreted() -> None:
    """`echo` of dash makes a line break of backslash-n in what it is given."""
    texts = r"\$\{?(item|line|step|run|other|said|who|user|layer|1|2)\b"
    found = {
        name: words
        for name, body in ALL.items()
        for words in re.findall(r"\becho ([^\n;|>}]*)", re.sub(r"\$\([^()]*\)", "$", body))
        if re.search(texts, words)
    }
    assert found == {}
