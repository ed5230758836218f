"""Commands are built from words, never from text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

import pytest
from tests.unit.test_architecture import ADAPTER, FILES, begins, tree


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
            case ast.Call(func=ast.Name(id="asked") | ast.Attribute(attr="asked")):
                return True  # of operations.systemd, which quotes the unit
            case ast.Call(func=ast.Attribute(attr="Asked")):
                return all(self.safe(one) for one in node.args)
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
