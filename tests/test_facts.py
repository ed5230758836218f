"""Facts, a case a file: what a real machine says, and what it says when something is odd."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from nodeproof.facts.repositories import Keyring
from nodeproof.repositories.spec import AptRepository, DnfRepository, SigningKey
from tests import cases

CASES = cases.found("facts")
KEYS = {"arguments", "output", "is", "raises", "from"}
HARMLESS_ARGUMENTS = {
    "apparmor.AppArmorProfile": ("nodeproof-workload", "/etc/apparmor.d/nodeproof-workload"),
    "bootable.Bootable": ("6.1.0-50-cloud-amd64",),
    "files.FileState": ("/etc/hostname",),
    "files.SecretFileState": ("/etc/hostname",),
    "modules.KernelModule": ("i915",),
    "nftables.NftTable": ("inet", "none", "/etc/hostname"),
    "offers.Offers": ("sed",),
    "packages.AptLastWords": ("sed",),
    "systemd.Unit": ("ssh.service",),
    "users.AuthorizedKeys": ("daemon",),
}


REPOSITORY: dict[str, Any] = {
    "name": "nowhere",
    "uris": ("file:///nowhere",),
    "key": SigningKey(("A" * 40,), "file:///nowhere/key"),
}
APT = AptRepository(**REPOSITORY, suites=("/",))
DNF = DnfRepository(**REPOSITORY, supplies=("*",))
OBJECTS: dict[str, tuple[Any, ...]] = {
    "packages.AptOffers": ("sed,dpkg",),
    "packages.AptTransaction": ("sed=0,sed-",),
    "packages.DnfOffers": ("sed,dpkg",),
    "packages.DnfTransaction": ("sed=0,sed-",),
    "packages.RpmMissing": ("sed,dpkg",),
    "repositories.AptRepositoryState": (APT,),
    "repositories.AptTrial": (APT, Keyring("none", "no key")),
    "repositories.DnfRepositoryState": (DNF,),
    "repositories.DnfTrial": (DNF, Keyring("none", "no key")),
    "repositories.KeyFile": ("file:///nowhere/key", "10"),
}
"""The same where an argument is no path, or has a grammar of its own."""
ARGUMENTS: dict[str, tuple[Any, ...]] = {**HARMLESS_ARGUMENTS, **OBJECTS}


@pytest.mark.parametrize("path", CASES, ids=cases.named)
def test_fact(path: Path) -> None:
    case = cases.read(path)
    assert case.keys() <= KEYS
    fact = cases.facts()[path.parent.name]
    output = case["output"].splitlines()
    if "raises" in case:
        with pytest.raises(Exception, match=case["raises"]):
            fact().process(output)
        return
    # pyinfra does not call process() when a command prints nothing.
    value = fact().process(output) if output else fact.default()
    assert value == cases.fact_value(fact, case["is"])


@pytest.mark.parametrize("name", cases.facts())
def test_every_fact_has_cases(name: str) -> None:
    written = [cases.read(path) for path in CASES if path.parent.name == name]
    assert len(written) >= 2
    assert any("from" in case for case in written), "none of a real machine"


def test_no_case_without_a_fact() -> None:
    assert {path.parent.name for path in CASES} == cases.facts().keys()


def run(command: str, shell: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path or "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    return subprocess.run(
        [shell, "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("name", cases.facts())
def test_fact_of_this_machine(name: str, shell: str) -> None:
    """Its command runs in a POSIX shell, and its own parser understands what it says."""
    fact = cases.facts()[name]
    command = cases.fact_command(fact, *ARGUMENTS.get(name, ()))
    done = run(command, shell)
    tool = fact().requires_command(*ARGUMENTS.get(name, ()))
    if tool and run(f"command -v {tool}", shell).returncode:
        return  # pyinfra asks first, and takes the default
    if name == "systemd.Unit" and not Path("/run/systemd/system").exists():
        assert done.returncode != 0, "a machine without systemd cannot say how its units are"
        return
    if name == "packages.DnfPackages" and run("command -v rpm", shell).returncode:
        assert done.returncode != 0, "a machine without rpm cannot say what is installed"
        return
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    value = fact().process(lines) if lines else fact.default()
    assert isinstance(value, type(fact.default())) or fact.default() is None


@pytest.mark.parametrize(("origin", "own"), [("Debian", True), ("NVIDIA", False), ("Deb", False)])
def test_lists_of_a_vendor_alone_are_not_the_distributions(
    tmp_path: Path, origin: str, own: bool
) -> None:
    (tmp_path / "os-release").write_text("ID=debian\n")
    (tmp_path / "a.example_InRelease").write_text(f"Origin: {origin}\nLabel: Debian\n")
    (tmp_path / "a.example_Packages").touch()
    command = cases.fact_command(cases.facts()["packages.AptPackages"]).partition("|| exit;")[2]
    for path in ("/var/lib/apt/lists", "/etc"):
        command = command.replace(path, str(tmp_path))
    done = run(command, "dash")
    assert (done.stdout.split(), done.stderr) == (["fresh", "own"] if own else ["fresh"], "")


@pytest.mark.parametrize("word", ["a b", "a'b", 'a"b', "$(id)", "`id`", "a\nb", "-x", "*", ""])
@pytest.mark.parametrize("name", HARMLESS_ARGUMENTS)
def test_arguments_stay_arguments(name: str, word: str) -> None:
    fact = cases.facts()[name]
    arguments = [f"/nowhere/{word}"] * len(HARMLESS_ARGUMENTS[name])
    done = run(cases.fact_command(fact, *arguments), "dash")
    assert "uid=" not in done.stdout + done.stderr
    assert "Syntax error" not in done.stderr
    if name == "bootable.Bootable":  # whatever the kernel, it says what the root is
        assert (done.returncode, done.stderr) == (0, "")
    elif name != "systemd.Unit":
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("word", ["a b=1", "a'b=1", "$(id)=1", "`id`=1", "-x=1", ";id-"])
def test_names_of_packages_stay_names(word: str) -> None:
    done = run(cases.fact_command(cases.facts()["packages.AptTransaction"], word), "dash")
    assert "uid=" not in done.stdout + done.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert "code|100" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("packages.AptPackages", "dpkg-query"),
        ("systemd.Unit", "systemctl"),
        ("users.Accounts", "getent"),
    ],
)
def test_a_missing_tool_is_no_answer(tmp_path: Path, name: str, tool: str) -> None:
    """Could not look is a failure: an empty answer would be taken for an empty machine."""
    for program in ("sh", "find", "head", "sed", "ls", "echo", "true"):
        (tmp_path / program).symlink_to(run(f"command -v {program}", "dash").stdout.strip())
    command = cases.fact_command(cases.facts()[name], *HARMLESS_ARGUMENTS.get(name, ()))
    done = run(command, "/bin/dash", str(tmp_path))
    assert done.returncode != 0
    assert tool in done.stderr
