"""The cuda layer on WSL 2: where toolkits come from, and what must not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pyinfra.context import ctx_host

from nodeproof.catalog.resolve.choice import Choice
from nodeproof.catalog.resolve.machine import of_node
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.whole import shipped
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.cuda import deploy, wsl_checks
from nodeproof.layers.cuda.settings import Settings
from nodeproof.repositories import nvidia
from nodeproof.repositories.spec import AptRepository

NODE = NodeFacts(os_id="ubuntu", os_version="24.04", kernel="6.6.87.2-microsoft-standard-WSL2")
WSL = Accelerators(kernel=NODE.kernel, arch="x86_64", platform="wsl2")


def test_toolkits_come_from_the_repository_for_wsl() -> None:
    settings = Settings(toolkits=["13.0"])
    answer = resolve(settings.asked, of_node(NODE, WSL), shipped(), date(2026, 11, 29))
    assert isinstance(answer, Choice)
    assert answer.cuda_place is not None
    found = nvidia.repository(settings.asked, answer.cuda_place, shipped())
    assert isinstance(found, AptRepository)
    assert found.uris == (
        "https://developer.download.nvidia.com/compute/cuda/repos/wsl-ubuntu/x86_64/",
    )
    assert not {"nvidia-*", "libcuda*", "cuda-drivers*"} & {*found.supplies}


def test_drivers_are_kept_away_on_wsl_only(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(deploy.files, "template", lambda **arguments: said.append(arguments))
    with ctx_host.use(object()):
        deploy._no_driver(WSL.model_copy(update={"platform": "vm"}))
        assert said == []
        deploy._no_driver(WSL)
    never = said[0]["values"]["never"]
    assert {"cuda", "cuda-drivers*", "nvidia-open*"} < {*never}
    assert not any(one.startswith(("cuda-toolkit", "nvidia-container")) for one in never)


class Host:
    """A node of a platform, whose apt knows packages and would install some."""

    def __init__(self, platform: str, **candidates: str) -> None:
        self.platform, self.candidates = platform, candidates

    def run(self, command: str, *arguments: str) -> Any:
        said = f"kernel=x-microsoft\nvirt={self.platform}"
        return type("Done", (), {"stdout": said, "stderr": "", "rc": 0})

    def check_output(self, command: str, *arguments: str) -> str:
        names = {name.replace("_", "-"): version for name, version in self.candidates.items()}
        if command == "apt-cache pkgnames":
            return "\n".join(["bash", *names])
        return "".join(
            f"{name}:\n  Installed: (none)\n  Candidate: {names[name]}\n  Version table:\n"
            for name in arguments
        )


def test_driver_that_can_be_installed_fails() -> None:
    check = wsl_checks.test_no_driver_can_be_installed
    check(Host("wsl", cuda_drivers="(none)", cuda="(none)", cuda_toolkit_13_0="13.0.2-1"))
    with pytest.raises(AssertionError, match=r"can be installed: cuda-drivers-580 580\.178\.04-1"):
        check(Host("wsl", cuda_drivers_580="580.178.04-1", cuda="(none)"))
    for host in (Host("kvm", cuda="13.0.2-1"), Host("wsl", cuda_toolkit_13_0="13.0.2-1")):
        with pytest.raises(pytest.skip.Exception):
            check(host)
