"""Who may touch whom, and what each layer has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import nodeproof
from nodeproof.layers import LAYER_NAMES, LAYERS, layer_named

SOURCE = Path(nodeproof.__file__).parent
ROOT = SOURCE.parent.parent
FILES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in SOURCE.rglob("*.py")
}
ADAPTER = "engine.adapter"


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever in it."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def begins(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def modules(*prefixes: str) -> list[str]:
    return [name for name in FILES if begins(name, *prefixes)]


def ours(module: str) -> set[str]:
    """Return which of our modules a module imports, without the package's name."""
    return {
        name.removeprefix("nodeproof.") for name in imports(module) if name.startswith("nodeproof.")
    }


# Imports

INTERNALS = (
    *("gevent", "greenlet", "paramiko", "pyinfra_cli"),
    *("pyinfra.connectors", "pyinfra.context", "pyinfra.api.state", "pyinfra.api.connect"),
    *("pyinfra.api.operations", "pyinfra.api.facts", "pyinfra.api.host", "pyinfra.progress"),
)
EXCEPTIONS = {
    ("cli.password", "gevent.lock"): "hosts that want the password wait for one another",
}


@pytest.mark.parametrize("module", [name for name in FILES if not begins(name, ADAPTER)])
def test_only_the_adapter_knows_internals(module: str) -> None:
    found = {
        name
        for name in imports(module)
        if begins(name, *INTERNALS)
        and not any(module == where and begins(name, what) for where, what in EXCEPTIONS)
    }
    assert not found, f"{module} imports {found}; move it into {ADAPTER}"


def test_exceptions_are_in_use() -> None:
    for module, what in EXCEPTIONS:
        assert any(begins(name, what) for name in imports(module))


@pytest.mark.parametrize("layer", LAYER_NAMES)
def test_a_layer_imports_no_other_layer(layer: str) -> None:
    others = tuple(f"layers.{name}" for name in LAYER_NAMES if name != layer)
    for module in modules(f"layers.{layer}"):
        assert not [name for name in ours(module) if begins(name, *others)], module


def proving(layer: nodeproof.layers.Layer) -> list[str]:
    return [module.removeprefix("nodeproof.") for module in layer.checks]


def checks(layer: nodeproof.layers.Layer) -> list[ast.FunctionDef]:
    return [
        node
        for module in proving(layer)
        for node in tree(module).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


@pytest.mark.parametrize("layer", LAYER_NAMES)
def test_proof_and_deed_share_settings_only(layer: str) -> None:
    proofs = proving(layer_named(layer))
    for proof in proofs:
        assert not [name for name in ours(proof) if begins(name, f"layers.{layer}.deploy")]
    assert not [name for name in ours(f"layers.{layer}.deploy") if begins(name, *proofs)]
    deed = {"deploy", "checks", "operations"}
    assert not [
        name
        for name in ours(f"layers.{layer}.settings")
        if begins(name, *(f"layers.{layer}.{part}" for part in deed))
    ]


FORBIDDEN = {
    "catalog": ("cli", "checks", "engine", "evidence", "facts", "lab", "layers", "operations"),
    "settings": ("cli", "checks", "engine", "evidence", "facts", "lab", "operations"),
    "facts": ("cli", "checks", "engine", "evidence", "lab", "layers", "operations", "settings"),
    "operations": ("cli", "checks", "engine", "evidence", "lab", "layers", "settings"),
    "layers": ("cli", "checks", "engine", "evidence", "lab"),
    "evidence": ("cli", "checks", "lab", "layers", "operations", ADAPTER, "engine.run"),
    "health": ("cli", "checks", "engine", "evidence", "lab", "layers", "operations", "settings"),
    "updates": ("cli", "checks", "engine", "evidence", "facts", "lab", "layers", "operations"),
    "engine": ("cli", "checks", "evidence", "lab", *(f"layers.{name}" for name in LAYER_NAMES)),
    "lab": ("cli", "checks", "engine", "evidence", "facts", "layers", "operations", "settings"),
    "checks": ("lab",),
    "errors": ("cli", "checks", "engine", "evidence", "lab", "layers", "operations", "settings"),
}
TOOLS = {"settings.reference": "makes pages of the documentation out of all parts; run by hand"}
FOR_A_REASON = {
    ("catalog.resolve.case", "facts.accelerators"): "models alone; a choice is made of facts",
    ("catalog.resolve.image", "facts.accelerators"): "models alone; a choice is made of facts",
    ("catalog.resolve.machine", "facts.accelerators"): "models alone; a choice is made of facts",
    ("catalog.resolve.machine", "facts.node"): "models alone; a choice is made of facts",
    ("catalog.resolve.release", "facts.accelerators"): "models alone; a choice is made of facts",
    ("catalog.resolve.release", "facts.node"): "models alone; a choice is made of facts",
    ("checks.plugin", "cli.password"): "plain pytest asks for the password as the commands do",
    ("settings.site", "evidence.controls"): "an exception names a control that exists",
    ("lab.inventory", "settings.problems"): "the nearest spelling, as everywhere",
    ("lab.lab", "settings.problems"): "the nearest spelling, as everywhere",
}


@pytest.mark.parametrize("part", FORBIDDEN)
def test_nobody_reaches_up(part: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for module in modules(part)
        if module not in TOOLS
        for name in sorted(ours(module))
        if begins(name, *FORBIDDEN[part])
        and not any(module == where and begins(name, what) for where, what in FOR_A_REASON)
    ]
    assert not wrong


def test_only_main_imports_the_command_line() -> None:
    outside = [
        module
        for module in FILES
        if not begins(module, "cli", "__main__", "checks.plugin", *TOOLS)
        and any(begins(name, "cli") for name in ours(module))
    ]
    assert not outside


def test_nobody_but_the_command_line_prints() -> None:
    wrong = [
        module
        for module in FILES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "click.echo", "click.secho", "sys.stdout.write")
        and not begins(module, "cli", *TOOLS, "scripts")  # those run on nodes, and answer so
    ]
    assert not wrong


# What each layer has

DOCUMENTED = (
    *("system", "kernel", "storage", "network", "rdma", "gpu", "cuda", "rocm", "intel"),
    *("containers", "confinement", "ssh", "hardening", "audit", "updates", "confidential"),
    *("kubernetes", "slurm", "openpbs", "frameworks", "media", "data", "monitoring", "health"),
)
NO_FILES = {"intel": "it writes nothing but repositories, which have a form of their own"}


def test_layers_are_applied_in_the_documented_order() -> None:
    assert set(LAYER_NAMES) <= {*DOCUMENTED}
    places = [DOCUMENTED.index(name) for name in LAYER_NAMES]
    assert all(before < after for before, after in pairwise(places))


def test_the_documentation_names_the_same_order() -> None:
    text = (ROOT / "docs" / "reference" / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"Layers, in the order in which they are applied: ([^-]*)", text)
    assert tuple(re.findall(r"\[(\w+)\]", line)) == LAYER_NAMES


def test_every_folder_is_a_layer() -> None:
    folders = {path.parent.name for path in (SOURCE / "layers").glob("*/__init__.py")}
    assert folders == {*LAYER_NAMES}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
class TestLayer:
    def test_has_its_files(self, layer: nodeproof.layers.Layer) -> None:
        folder = SOURCE / "layers" / layer.name
        for name in ("__init__", "settings", "deploy", "checks"):
            assert (folder / f"{name}.py").is_file()
        assert layer.settings_model.__name__ == "Settings"
        assert callable(layer.deploy)

    def test_has_templates(self, layer: nodeproof.layers.Layer) -> None:
        there = list((ROOT / "templates" / layer.name).glob("*.j2"))
        assert bool(there) is (layer.name not in NO_FILES)

    def test_has_a_deploy_file(self, layer: nodeproof.layers.Layer) -> None:
        text = (ROOT / "deploys" / f"{layer.name}.py").read_text(encoding="utf-8")
        assert f'site("{layer.name}")' in text

    def test_has_a_reference_page(self, layer: nodeproof.layers.Layer) -> None:
        page = ROOT / "docs" / "reference" / f"{layer.name}.md"
        text = page.read_text(encoding="utf-8")
        for key in layer.settings_model.model_fields:
            assert f"{layer.name}.{key}" in text, f"{page.name} does not say what {key} is"

    def test_has_tests(self, layer: nodeproof.layers.Layer) -> None:
        tests = [
            path
            for path in (ROOT / "tests").rglob("test_*.py")
            if layer.name in path.read_text(encoding="utf-8")
            and path.parent.name in ("nodes", "machines")
        ]
        assert tests, "no test of a real node is about this layer"

    def test_every_check_names_a_control_and_says_why(self, layer: nodeproof.layers.Layer) -> None:
        assert checks(layer)
        for function in checks(layer):
            marks = [ast.unparse(one) for one in function.decorator_list]
            assert any(mark.startswith("pytest.mark.control(") for mark in marks), function.name
            assert ast.get_docstring(function), function.name

    def test_checks_only_look(self, layer: nodeproof.layers.Layer) -> None:
        """A check that leaves early has passed without looking."""
        for function in checks(layer):
            returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
            assert not returns, f"{function.name} returns; use pytest.skip(reason)"
