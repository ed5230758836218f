"""Who may touch whom, what each layer has, and that no operation builds a command from text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import nodeproof
from nodeproof.layers import LAYER_NAMES, LAYERS

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


@pytest.mark.parametrize("layer", LAYER_NAMES)
def test_proof_and_deed_share_settings_only(layer: str) -> None:
    assert not [
        name for name in ours(f"layers.{layer}.checks") if begins(name, f"layers.{layer}.deploy")
    ]
    assert not [
        name for name in ours(f"layers.{layer}.deploy") if begins(name, f"layers.{layer}.checks")
    ]
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
    "engine": ("cli", "checks", "evidence", "lab", *(f"layers.{name}" for name in LAYER_NAMES)),
    "lab": ("cli", "checks", "engine", "evidence", "facts", "layers", "operations", "settings"),
    "checks": ("lab",),
    "errors": ("cli", "checks", "engine", "evidence", "lab", "layers", "operations", "settings"),
}
TOOLS = {"settings.reference": "makes pages of the documentation out of all parts; run by hand"}
FOR_A_REASON = {
    ("checks.plugin", "cli.password"): "plain pytest asks for the password as the commands do",
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
        and not begins(module, "cli", *TOOLS)
    ]
    assert not wrong


# What each layer has

DOCUMENTED = (
    *("system", "kernel", "storage", "network", "rdma", "gpu", "cuda", "rocm", "containers"),
    *("confinement", "ssh", "hardening", "audit", "updates", "confidential", "kubernetes"),
    *("slurm", "openpbs", "frameworks", "media", "data", "monitoring", "health"),
)


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
        assert list((ROOT / "templates" / layer.name).glob("*.j2"))

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
        functions = [
            node
            for node in tree(f"layers.{layer.name}.checks").body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
        assert functions
        for function in functions:
            marks = [ast.unparse(one) for one in function.decorator_list]
            assert any(mark.startswith("pytest.mark.control(") for mark in marks), function.name
            assert ast.get_docstring(function), function.name

    def test_checks_only_look(self, layer: nodeproof.layers.Layer) -> None:
        """A check that leaves early has passed without looking."""
        for function in tree(f"layers.{layer.name}.checks").body:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
                assert not returns, f"{function.name} returns; use pytest.skip(reason)"


# Commands are built from words, never from text


class Words:
    """Tells whether what goes into a command is a constant, or quoted."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self.parameters = {
            one.arg: ast.unparse(one.annotation) if one.annotation else ""
            for one in (
                *function.args.posonlyargs,
                *function.args.args,
                *function.args.kwonlyargs,
                *filter(None, [function.args.vararg]),
            )
        }
        self.values: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        self.values.setdefault(target.id, []).append(node.value)
            if isinstance(node, ast.comprehension | ast.For) and isinstance(node.target, ast.Name):
                self.values.setdefault(node.target.id, []).append(node.iter)

    def safe(self, node: ast.expr) -> bool:
        match node:
            case ast.Constant():
                return True
            case ast.JoinedStr():
                inner = [one.value for one in node.values if isinstance(one, ast.FormattedValue)]
                return all(isinstance(one, ast.Name) and one.id.isupper() for one in inner)
            case ast.Call(func=ast.Name(id="QuoteString")):
                return self._quoted(node)
            case ast.Call(func=ast.Name(id=name)) if name.startswith("_"):
                return True  # a helper of the same module; what it returns is looked at there
            case ast.Call(func=ast.Name(id="StringCommand")):
                return True  # looked at by itself
            case ast.Name(id=name) if name.isupper():
                return True
            case ast.Name(id=name) if name in self.values:
                return all(self.safe(value) for value in self.values[name])
            case ast.Name(id=name):
                return self.parameters.get(name, "").startswith(("Literal[", "str | QuoteString"))
            case ast.Starred():
                return self.safe(node.value)
            case ast.List() | ast.Tuple():
                return all(self.safe(one) for one in node.elts)
            case ast.GeneratorExp() | ast.ListComp():
                return self.safe(node.elt)
            case ast.IfExp():
                return self.safe(node.body) and self.safe(node.orelse)
            case ast.BinOp(op=ast.Add()):
                return self.safe(node.left) and self.safe(node.right)
        return False

    def _quoted(self, call: ast.Call) -> bool:
        """Quoted text may hold values, unless it is a script that a shell reads once more."""
        (text,) = call.args
        if isinstance(text, ast.Name) and text.id in self.values:
            scripts = [one for one in self.values[text.id] if isinstance(one, ast.JoinedStr)]
            return text.id != "script" or all(self.safe(one) for one in scripts)
        return True


def unsafe(module: ast.Module) -> Iterator[str]:
    for function in ast.walk(module):
        if not isinstance(function, ast.FunctionDef):
            continue
        words = Words(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and _builds(node):
                for argument in node.args:
                    if not words.safe(argument):
                        yield f"line {argument.lineno}: {ast.unparse(argument)}"
                for before, after in pairwise(node.args):
                    if _is_script(before) and isinstance(after, ast.Call):
                        (text,) = after.args
                        if not words.safe(text):
                            yield f"line {after.lineno}: {ast.unparse(after)} is run by a shell"
            if isinstance(node, ast.Yield) and isinstance(
                node.value, ast.Constant | ast.JoinedStr | ast.BinOp
            ):
                yield f"line {node.lineno}: yields text"


def _builds(node: ast.Call) -> bool:
    name = ast.unparse(node.func)
    return name in ("Change", "StringCommand", "server.shell", "_logged")


def _is_script(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == "-c"


COMMAND_MODULES = [
    name
    for name in FILES
    if begins(name, "operations", "facts") or name.endswith((".operations", ".facts"))
    if not begins(name, ADAPTER)
]


@pytest.mark.parametrize("module", COMMAND_MODULES)
def test_commands_are_not_built_from_text(module: str) -> None:
    assert list(unsafe(tree(module))) == []


@pytest.mark.parametrize(
    "text",
    [
        'StringCommand(f"rm {path}")',
        'StringCommand("rm", path)',
        'StringCommand("rm", f"--mode={mode}", QuoteString(path))',
        'StringCommand("rm %s" % path)',
        'StringCommand("rm {}".format(path))',
        'StringCommand("rm " + path)',
        'StringCommand("rm", str(path))',
        'StringCommand(" ".join(["rm", path]))',
        'StringCommand("rm", *paths)',
        'StringCommand("rm", *(one for one in paths))',
        'StringCommand("sh", "-c", QuoteString(f"rm {path}"))',
        'StringCommand("rm", path if path else QuoteString(path))',
        'server.shell(f"rm {path}")',
        'word = f"{path}"\n    yield StringCommand("rm", word)',
        'yield f"rm {path}"',
        'yield "rm " + path',
        'yield "true"',
    ],
)
def test_text_in_a_command_is_found(text: str) -> None:
    module = ast.parse(f"def operation(path, paths, mode):\n    {text}\n")
    assert list(unsafe(module))


@pytest.mark.parametrize(
    "text",
    [
        'StringCommand("rm", "-f", "--", QuoteString(path))',
        'StringCommand("chown", QuoteString(f"{path}:{mode}"))',
        'StringCommand(f"cat {FILE} || true")',
        'StringCommand("rm", *(QuoteString(one) for one in paths))',
        'StringCommand("sh", "-c", QuoteString(SCRIPT), "sh", QuoteString(path))',
        'words = ["a", QuoteString(path)]\n    yield StringCommand("rm", *words)',
    ],
)
def test_words_in_a_command_are_not(text: str) -> None:
    module = ast.parse(f"def operation(path, paths, mode):\n    {text}\n")
    assert list(unsafe(module)) == []
