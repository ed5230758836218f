"""Keep the tables of the reference pages equal to the code.

``python -m nodeproof.settings.reference`` makes them anew, with ``--check`` it only looks. A page
marks what is generated: ``<!-- keys -->`` begins it and ``<!-- /keys -->`` ends it; the words that
may stand there are those of `BLOCKS`. The page's file name says which layer it is about.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from nodeproof.catalog import pages as catalog
from nodeproof.catalog.distributions import distributions
from nodeproof.catalog.gpu_health import gpu_health
from nodeproof.catalog.hardening import model as hardening
from nodeproof.errors import Exit, UsageError
from nodeproof.evidence import standards
from nodeproof.evidence.controls import controls
from nodeproof.facts.accelerators import Accelerators, DkmsModule, Gpu, InstalledDriver
from nodeproof.facts.node import NodeFacts
from nodeproof.layers import layer_named
from nodeproof.resources import CHECKOUT
from nodeproof.settings.describe import describe

PAGES = CHECKOUT / "docs"
_BLOCK = re.compile(
    r"(?P<begin>^<!-- (?P<name>[a-z-]+) -->$).*?(?P<end>^<!-- /(?P=name) -->$)", re.M | re.S
)


def refreshed(page: str, text: str) -> str:
    """Return a page's text with its generated parts made anew; `page` is its name without .md.

    Raises UsageError for a part that nobody generates.
    """

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in BLOCKS:
            raise UsageError(
                f"{page}.md: <!-- {name} --> is not a generated part",
                hint=f"these are: {', '.join(BLOCKS)}",
            )
        return f"{match['begin']}\n\n{BLOCKS[name](page)}\n\n{match['end']}"

    return _BLOCK.sub(block, text)


def stale(folder: Path = PAGES) -> Iterator[tuple[Path, str]]:
    """Yield each page that is not as the code says, with what it should be."""
    for path in sorted(folder.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (wanted := refreshed(path.stem, text)) != text:
            yield path, wanted


def keys(layer: str) -> str:
    """Return the table of a layer's settings."""
    rows = [
        (
            f"`{key.key}`",
            key.type,
            _code(key.default) + (f" {key.unit}" if key.unit else ""),
            key.meaning,
        )
        for key in describe(layer_named(layer).settings_model, layer)
    ]
    return table(("key", "type", "default", "meaning"), rows)


def checks(layer: str) -> str:
    """Return the table of a layer's checks: what each proves, and why."""
    rows = [
        (f"`{name.removeprefix('test_')}`", ", ".join(marked(function)), sentence(function))
        for module in layer_named(layer).checks
        for name, function in _in_order(import_module(module))
    ]
    return table(("check", "control", "why it matters"), rows)


def _in_order(module: ModuleType) -> list[tuple[str, Callable[..., object]]]:
    functions = inspect.getmembers(module, lambda it: inspect.isfunction(it) and is_check(it))
    return sorted(functions, key=lambda item: inspect.getsourcelines(item[1])[1])


def is_check(function: Callable[..., object]) -> bool:
    """Tell whether a function is a check."""
    return function.__name__.startswith("test_")


def marked(function: Callable[..., object]) -> list[str]:
    """Return the controls that a check names."""
    marks = getattr(function, "pytestmark", [])
    return [control for mark in marks if mark.name == "control" for control in mark.args]


def sentence(item: object) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(item) or "").split("\n\n", 1)[0].split())


def control_table(_: str) -> str:
    """Return the catalogue of controls."""
    rows = [
        (
            control.id,
            str(control.level),
            control.layer,
            control.title,
            control.needs,
            ", ".join(sorted(conflicting().get(control.id, ()))),
        )
        for control in controls().values()
    ]
    head = ("id", "level", "layer", "what it asks for", "where it applies", "roles with exceptions")
    return table(head, rows)


def conflicting() -> Mapping[str, set[str]]:
    """Return the controls that some role gets otherwise, each with these roles."""
    found: dict[str, set[str]] = {}
    for subject in sorted(path.stem for path in hardening.FOLDER.glob("*.toml")):
        for one in hardening.parameters(subject) if subject != "sources" else ():
            roles = {role.value for conflict in one.conflicts for role in conflict.roles}
            found.setdefault(one.control, set()).update(roles)
    return found


def standard_table(_: str) -> str:
    """Return the standards with how much of each our controls serve."""
    catalogue = controls()
    rows = []
    for key, one in catalogue.standards.items():
        automated, serving = catalogue.automated(key), catalogue.serving(key)
        served = {item for control in serving for item in control.maps[key]} & {*automated}
        share = f"{len(served)} of {len(automated)} ({100 * len(served) // len(automated)} %)"
        rows.append((f"`{key}`", f"[{one.title}](#{_anchor(one.name)})", share, str(len(serving))))
    return table(("key", "standard", "items served, of those automated", "controls"), rows)


def standard_items(_: str) -> str:
    """Return, for each standard, its source and the items that our controls serve."""
    catalogue = controls()
    parts = []
    for key, one in catalogue.standards.items():
        items: dict[str, list[str]] = {}
        for control in catalogue.serving(key):
            for item in control.maps[key]:
                items.setdefault(item, []).append(control.id)
        rows = [(item, ", ".join(items[item])) for item in sorted(items, key=standards.natural)]
        parts += [f"### {one.name}", _whence(key), table(("item", "controls"), rows)]
    return "\n\n".join(parts)


def _whence(key: str) -> str:
    one, known = controls().standards[key], standards.items().get(key)
    source = ""
    if known:
        repository = known.source.split()[0]
        commit = standards.commits()[repository][:12]
        source = f"Source: {known.source.replace(repository, f'{repository} at {commit}', 1)}."
    note = f"{one.note[:1].upper()}{one.note[1:]}." if one.note else ""
    return " ".join(filter(None, [f"{one.title}.", source, note]))


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def facts(_: str) -> str:
    """Return the table of a node's facts."""
    rows = []
    for name, field in NodeFacts.model_fields.items():
        kind = getattr(field.annotation, "__name__", "")
        words = {"str": "text", "int": "whole number", "bool": "true or false", "tuple": "list"}
        rows.append((f"`{name}`", words[kind], field.description or ""))
    return table(("fact", "type", "meaning"), rows)


def accelerators(_: str) -> str:
    """Return the table of a node's accelerators, with the fields of what is in them."""
    rows = [
        (f"`{prefix}{name}`", _sort(field), field.description or "")
        for prefix, model in (
            ("", Accelerators),
            ("gpus[].", Gpu),
            ("driver.", InstalledDriver),
            ("dkms[].", DkmsModule),
        )
        for name, field in model.model_fields.items()
    ]
    return table(("fact", "type", "meaning"), rows)


def _sort(field: FieldInfo) -> str:
    kinds = {str: "text", int: "whole number", bool: "true or false", dict: "table", list: "list"}
    parts = {get_origin(one) or one for one in (field.annotation, *get_args(field.annotation))}
    words = [word for kind, word in kinds.items() if kind in parts]
    if Literal in parts or get_origin(field.annotation) is Literal:
        words = [", ".join(map(str, get_args(field.annotation)))]
    found = words[-1] if words else "table"
    return f"{found} or none" if type(None) in parts else found


def xids(_: str) -> str:
    """Return the table of Xid classes."""
    known = gpu_health()
    rows = []
    for name, one in known.xids.items():
        named = [
            f"{code} ({known.xid_meanings[code]})" if code in known.xid_meanings else str(code)
            for code in one.codes
        ]
        codes = ", ".join(named) or "all others"
        rows.append((name, "fails" if one.fails else "is noted", codes, one.action))
    return table(("class", "since boot", "Xids", "what to do"), rows)


def gpu_products(_: str) -> str:
    """Return the table of what is expected of GPUs."""
    rows = [
        (
            one.title,
            f"{one.pcie_generation or '?'}, x{one.pcie_width}",
            f"{one.nvlinks} at {one.nvlink_gb_s:g} GB/s" if one.nvlinks else "",
            *(
                f"{peak:g}" if peak else ""
                for peak in (one.memory_gb_s, one.bf16_tflops, one.fp32_tflops)
            ),
        )
        for one in gpu_health().products.values()
    ]
    head = ("product", "PCIe", "NVLinks", "memory GB/s", "bf16 TFLOP/s", "fp32 TFLOP/s")
    return table(head, rows)


def gpu_sources(_: str) -> str:
    """Return where the tables were read."""
    found = gpu_health().sources.values()
    return "\n".join(f"- [{one.title}]({one.url}), looked up {one.looked_up}" for one in found)


def supported(_: str) -> str:
    """Return the table of distributions."""
    rows = [
        (f"`{key}`", row.title, ", ".join(f"[{one}]({one}.md)" for one in row.layers) or "all")
        for key, row in distributions().items()
    ]
    return table(("key", "distribution", "layers"), rows)


def catalog_table(name: str) -> Callable[[str], str]:
    """Return what makes one table of the catalog."""
    return lambda _: table(*catalog.table(name))


def commands(_: str) -> str:
    """Return every command with its options."""
    from nodeproof.cli.described import described

    return described()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


BLOCKS: Mapping[str, Callable[[str], str]] = {
    "keys": keys,
    "checks": checks,
    "controls": control_table,
    "standards": standard_table,
    "standard-items": standard_items,
    "facts": facts,
    "accelerators": accelerators,
    "xids": xids,
    "gpu-products": gpu_products,
    "gpu-sources": gpu_sources,
    "distributions": supported,
    "commands": commands,
    **{f"catalog-{name}": catalog_table(name) for name in catalog.TABLES},
}
"""What may stand between markers, and who makes it from the page's name."""


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail when a page is not current.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True), default=PAGES)
def main(check: bool, folder: Path) -> None:
    """Make the generated parts of the pages below FOLDER anew."""
    changed = list(stale(folder))
    for path, text in changed:
        click.echo(f"{path}: {'not current' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    sys.exit(Exit.FAILED if check and changed else Exit.DONE)


if __name__ == "__main__":
    main()
