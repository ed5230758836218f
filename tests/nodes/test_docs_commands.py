"""The documentation's commands that need nodes, page by page, on container nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeproof.lab import ContainerNode, containers
from tests.docs_commands import Step, Tier, scripts
from tests.docs_runner import run, stand_in
from tests.nodes.conftest import PREINSTALL

pytestmark = pytest.mark.nodes
PAGES = scripts(Tier.NODES)
PASSWORD = "correct horse"  # noqa: S105 - of a node that lives for a minute

SETTINGS = "site/group_data/nodes.py"
SITE = 'ssh = {"max_sessions": 20}\n'
"""What nodes are asked to be where a page does not say it: the kernel is not theirs to confine."""

UNDONE = "sudo rm -f /etc/ssh/sshd_config.d/10-nodeproof.conf && sudo systemctl reload ssh"
WANTS_PASSWORD = (
    f"echo 'ops:{PASSWORD}' | sudo chpasswd && sudo adduser --quiet ops sudo && "
    "sudo rm /etc/sudoers.d/90-lab"
)
NO_PASSWORD = (
    f"echo '{PASSWORD}' | sudo -S sh -c "
    "'umask 227; echo \"ops ALL=(ALL:ALL) NOPASSWD: ALL\" > /etc/sudoers.d/90-lab'"
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ContainerNode]]:
    """Two nodes, as node1 and node2 of the documentation."""
    with containers(["node1", "node2"], "debian-13", preinstall=PREINSTALL) as running:
        yield running


@pytest.fixture
def prepared(page: str, nodes: list[ContainerNode], tmp_path: Path) -> Iterator[list[Step]]:
    """The page's steps, on nodes that are not as asked."""
    stand_in(tmp_path, nodes)
    wants_password = page.endswith("sudo-password.md")
    for node in nodes:
        node.ssh(UNDONE)
        if wants_password:
            node.ssh(WANTS_PASSWORD)
    yield _granted(PAGES[page])
    for node in nodes if wants_password else []:
        node.ssh(NO_PASSWORD)


def _granted(steps: list[Step]) -> list[Step]:
    """Return the steps with what the page leaves to its reader: an inventory, settings, trust."""
    page = steps[0].page
    init = Step(page, 0, Tier.NODES, "nodeproof init site")
    site = Step(page, 0, Tier.NODES, SITE, path=SETTINGS)
    trust = Step(page, 0, Tier.NODES, "nodeproof trust site/inventory.py")
    if steps[0].text != init.text:
        return [init, site, trust, *steps]
    if SETTINGS in {step.path for step in steps}:
        return steps
    return [steps[0], site, *steps[1:]]


@pytest.mark.parametrize("page", PAGES)
def test_commands_do_what_the_page_says(prepared: list[Step], tmp_path: Path) -> None:
    run(prepared, tmp_path, answers={"sudo password: ": PASSWORD}, seconds=600)
