"""The documentation: generated parts are current, links lead somewhere, commands are run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs_commands import BY_HAND, ROOT, Tier, doc_commands, pages, scripts
from tests.docs_runner import run

from nodeproof.engine.adapter.inventory import load
from nodeproof.errors import Exit, UsageError
from nodeproof.layers import LAYER_NAMES
from nodeproof.resources import CHECKOUT
from nodeproof.settings.connection import CONNECTOR_KEYS
from nodeproof.settings.reference import PAGES, refreshed, stale

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
NEED_MACHINES = {"lab.py", "vagrant.py"}
INVENTORIES = [
    path
    for path in sorted((CHECKOUT / "inventories").rglob("*.py"))
    if path.parent.name != "group_data" and path.name not in NEED_MACHINES
]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_generated_parts_are_current() -> None:
    found = names([path for path, _ in stale()])
    assert not found, "run: python -m nodeproof.settings.reference"


def test_a_stale_part_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "ssh.md"
    page.write_text("# x\n\n<!-- keys -->\nold\n<!-- /keys -->\n\nprose\n")
    ((path, wanted),) = stale(tmp_path)
    assert path == page
    assert "`ssh.max_sessions`" in wanted
    assert "old" not in wanted
    assert wanted.endswith("\nprose\n")
    page.write_text(wanted)
    assert not list(stale(tmp_path))


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UsageError, match="<!-- kyes --> is not a generated part"):
        refreshed("ssh", "<!-- kyes -->\n<!-- /kyes -->\n")


@pytest.mark.parametrize("layer", LAYER_NAMES)
def test_a_layer_has_its_page(layer: str) -> None:
    text = (PAGES / "reference" / f"{layer}.md").read_text()
    for part in ("keys", "checks"):
        assert f"<!-- {part} -->" in text, f"{layer}.md does not show its {part}"


def test_exit_codes_are_all_explained() -> None:
    text = (PAGES / "reference" / "exit-codes.md").read_text()
    assert set(re.findall(r"^\| (\d+) \|", text, re.M)) == {str(code.value) for code in Exit}


def test_connection_keys_are_all_explained() -> None:
    text = (PAGES / "reference" / "inventory.md").read_text()
    assert set(re.findall(r"`(ssh_[a-z_]+)`", text)) == CONNECTOR_KEYS


@pytest.mark.parametrize("page", pages(), ids=names(pages()))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{target} has no such heading"


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in pages()
        for target in LINK.findall(page.read_text())
    }
    lost = {page.resolve() for page in pages()} - linked - {ROOT / "README.md"}
    assert not lost


def test_every_command_has_one_tier() -> None:
    assert doc_commands()
    without = [f"{step.where}: {step.text}" for step in doc_commands() if step.tier is None]
    assert not without, "say who runs it: <!-- run: TIER -->"


def test_commands_that_no_test_runs_have_a_reason() -> None:
    assert {step.text for step in doc_commands(Tier.HAND)} == set(BY_HAND)


@pytest.mark.parametrize("page", pages(), ids=names(pages()))
def test_commands_are_where_they_are_found(page: Path) -> None:
    """A command in another kind of block would be run by nobody."""
    kinds = set(re.findall(r"^\s*```(\w+)", page.read_text(), re.M))
    assert not kinds & {"sh", "bash", "shell", "zsh"}, "use console, or text for what is no command"


LOCAL = scripts(Tier.LOCAL)


@pytest.mark.parametrize("page", LOCAL)
def test_commands_that_need_no_node(page: str, tmp_path: Path) -> None:
    run(LOCAL[page], tmp_path, seconds=120)


@pytest.mark.parametrize("inventory", INVENTORIES, ids=names(INVENTORIES))
def test_example_inventory_has_no_problem(inventory: Path) -> None:
    fleet = load(str(inventory))
    assert fleet.hosts


def test_cluster_is_what_its_comments_say() -> None:
    fleet = load(str(CHECKOUT / "inventories" / "cluster" / "inventory.py"))
    layers = {name: set(fleet.settings[name].layers) for name in fleet.names}
    assert layers["head1"] == layers["login1"] == {"system", "ssh"}
    assert layers["gpu001"] == {*LAYER_NAMES} - {"rocm", "intel"}  # its GPUs are NVIDIA's
    modes = [fleet.settings[f"gpu00{n}"].layers["confinement"].mode for n in (4, 5)]  # type: ignore[attr-defined]
    assert modes == ["enforce", "complain"]


def test_what_revert_leaves_behind_is_shown() -> None:
    page = (PAGES / "reference" / "journal.md").read_text(encoding="utf-8")
    allowed = (ROOT / "tests" / "not_restored.txt").read_text(encoding="utf-8")
    assert f"```text\n{allowed}```" in page
