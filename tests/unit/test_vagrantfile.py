"""The Vagrantfile as Vagrant reads it, and the inventory of the machines it makes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pyinfra.connectors.vagrant import get_vagrant_config
from tests.support import Done

from nodeproof.engine.adapter.inventory import load
from nodeproof.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[2]
FAKE = """\
#!/bin/sh
[ -e "$VAGRANT_CWD/Vagrantfile" ] || exit 1
cat "${0%/*}/$1"
"""
STATUS = """\
1700000000,node1,metadata,provider,libvirt
1700000000,node1,state,running
1700000000,node2,state,not_created
"""
SSH_CONFIG = """\
Host node1
  HostName 192.0.2.7
  User vagrant
  Port 2222
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  IdentityFile /keys/node1

"""


@pytest.fixture(scope="module")
def vagrant() -> str:
    found = shutil.which("vagrant")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("vagrant is not installed")
    if found is None:
        pytest.skip("vagrant is not installed")
    return found


def run(vagrant: str, folder: Path, *words: str, **settings: str) -> Done:
    environment = {name: value for name, value in os.environ.items() if "VAGRANT" not in name}
    done = subprocess.run(
        [vagrant, *words, "--no-tty"],
        cwd=folder,
        env={**environment, "VAGRANT_HOME": str(folder / "home"), **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def knows_libvirt(vagrant: str, folder: Path) -> bool:
    return "vagrant-libvirt" in run(vagrant, folder, "plugin", "list").out


def validate(vagrant: str, folder: Path, **settings: str) -> Done:
    """Ask Vagrant whether it understands the Vagrantfile; no machine and no daemon is needed."""
    # Without any provider it refuses to look at all, unless it may ignore theirs.
    ignore = [] if knows_libvirt(vagrant, folder) else ["--ignore-provider"]
    return run(vagrant, folder, "validate", *ignore, **settings)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copy(REPOSITORY / "Vagrantfile", tmp_path)
    return tmp_path


@pytest.mark.parametrize("settings", [{}, {"NODE_DRIVER": "qemu", "NODE_BOX": "some/box"}])
def test_vagrant_understands_it(vagrant: str, copied: Path, settings: dict[str, str]) -> None:
    done = validate(vagrant, copied, **settings)
    assert done.code == 0, done.err
    assert "validated successfully" in done.out


@pytest.mark.parametrize(("right", "wrong"), [("vm.box =", "vm.boxx ="), (".cpus", ".cpuz")])
def test_a_wrong_setting_is_noticed(vagrant: str, copied: Path, right: str, wrong: str) -> None:
    if "cpu" in wrong and not knows_libvirt(vagrant, copied):
        pytest.skip("vagrant-libvirt is not installed: its settings cannot be judged")
    text = (copied / "Vagrantfile").read_text()
    assert right in text
    (copied / "Vagrantfile").write_text(text.replace(right, wrong))
    done = validate(vagrant, copied)
    assert done.code == 1
    assert wrong.strip(" .=").removeprefix("vm.") in done.err


@pytest.fixture
def project(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, and a `vagrant` that answers from files, beside it in `bin`."""
    shutil.copytree(REPOSITORY / "inventories", copied / "inventories")
    (copied / "bin").mkdir()
    for name, content in (("vagrant", FAKE), ("status", STATUS), ("ssh-config", SSH_CONFIG)):
        (copied / "bin" / name).write_text(content)
    (copied / "bin" / "vagrant").chmod(0o755)
    monkeypatch.setenv("PATH", f"{copied / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("VAGRANT_CWD", "")  # so that what the inventory sets is undone
    monkeypatch.delenv("VAGRANT_CWD")
    get_vagrant_config.cache.clear()
    return copied


def test_inventory_has_the_running_machines(project: Path) -> None:
    fleet = load(str(project / "inventories" / "vagrant.py"))
    assert fleet.names == ("@vagrant/node1",)
    connection = fleet.hosts[0].data
    assert (connection.ssh_hostname, connection.ssh_port) == ("192.0.2.7", 2222)
    assert connection.ssh_key == "/keys/node1"
    assert connection.ssh_known_hosts_file == str(project / ".vagrant" / "known_hosts")
    assert "nodes" in fleet.hosts[0].groups
    assert fleet.settings["@vagrant/node1"].layers


def test_no_running_machine_is_said(project: Path) -> None:
    (project / "bin" / "status").write_text(STATUS.replace("running", "poweroff"))
    with pytest.raises(UsageError, match="No running Vagrant instances found"):
        load(str(project / "inventories" / "vagrant.py"))
