"""Facts, a case a file: what a real machine says, and what it says when something is odd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import cases

CASES = cases.found("facts")
KEYS = {"arguments", "output", "is", "raises", "from"}
HARMLESS_ARGUMENTS = {
    "apparmor.AppArmorProfile": ("nodeproof-workload", "/etc/apparmor.d/nodeproof-workload"),
    "bootable.Bootable": ("6.1.0-50-cloud-amd64",),
    "files.FileState": ("/etc/hostname",),
    "files.SecretFileState": ("/etc/hostname",),
    "packages.AptLastWords": ("sed",),
    "systemd.Unit": ("ssh.service",),
    "users.AuthorizedKeys": ("daemon",),
}


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
    command = cases.fact_command(fact, *HARMLESS_ARGUMENTS.get(name, ()))
    done = run(command, shell)
    tool = fact().requires_command(*HARMLESS_ARGUMENTS.get(name, ()))
    if tool and run(f"command -v {tool}", shell).returncode:
        return  # pyinfra asks first, and takes the default
    if name == "systemd.Unit" and not Path("/run/systemd/system").exists():
        assert done.returncode != 0, "a machine without systemd cannot say how its units are"
        return
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    value = fact().process(lines) if lines else fact.default()
    assert isinstance(value, type(fact.default())) or fact.default() is None


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
