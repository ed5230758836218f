"""WSL 2, where the driver is that of Windows: nothing may bring another one."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from testinfra.host import Host

from nodeproof.catalog.overlay import current
from nodeproof.facts.gpu import Gpus

ASK = "LC_ALL=C apt-cache policy -- "


@pytest.mark.control("NP-CUD-06")
def test_no_driver_can_be_installed(host: Host) -> None:
    """A metapackage of CUDA's brings a driver for Linux, which takes the GPUs away."""
    done = host.run("sh -c %s", Gpus().command())
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    if Gpus().process(done.stdout.splitlines()).platform != "wsl2":
        pytest.skip("this is not WSL 2")
    never = current().platforms["wsl2"].never
    known = host.check_output("apt-cache pkgnames").split()
    asked = sorted(one for one in known if any(fnmatchcase(one, each) for each in never))
    if not asked:
        pytest.skip("no repository has a package of these names")
    said = host.check_output(ASK + " ".join(["%s"] * len(asked)), *asked)
    offered = candidates(said)
    assert offered.keys() >= {*asked}, "could not look: apt does not answer for all of them"
    there = [f"{name} {version}" for name, version in offered.items() if version != "(none)"]
    assert not there, f"can be installed: {', '.join(there)[:300]}"


def candidates(said: str) -> dict[str, str]:
    """Return package to the version that apt would install, or ``(none)``; see apt-cache(8)."""
    found, name = {}, ""
    for line in said.splitlines():
        if not line.startswith(" "):
            name = line.removesuffix(":")
        elif line.startswith("  Candidate: "):
            found[name] = line.removeprefix("  Candidate: ")
    return found
