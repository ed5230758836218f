"""Confinement, tried: what the workloads' profile lets through and what it does not."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.layers.confinement.settings import PROFILE, Mode, Settings

KERNEL = "/sys/kernel/security/apparmor"
FOLDER = "/etc/apparmor.d"

# Tries $2 on the directory $3 after preparing it with $1: free, then confined. Each has a mount
# namespace of its own, so what is prepared, and what a broken profile lets happen, is gone after.
TRY = f"""
enter='prepare=$1 try=$2 d=$3; shift 3; eval "$prepare" && exec "$@" sh -c "$try" sh "$d"'
within() {{ unshare --mount sh -c "$enter" sh "$@" >/dev/null 2>&1; }}
aa-exec -p {PROFILE} -- true; echo works=$?
within "$1" "$2" "$3"; echo free=$?
within "$1" "$2" "$3" aa-exec -p {PROFILE} --; echo confined=$?
"""
NOTHING = "true"
EMPTY_DISK = 'mount -t tmpfs none "$d" && echo content >"$d/file"'
"""Hides a directory behind an empty disk in memory with one file."""

USER_NAMESPACES = "make_user_namespaces"
DENIED = {
    "read_password_hashes": "cat /etc/shadow",
    "read_homes": "ls /root /home",
    "look_into_processes": "readlink /proc/1/ns/mnt",
    "use_capabilities": "perl -e 'chroot q(/) or exit 1'",
    "mount": "mount -t tmpfs none /mnt",
    USER_NAMESPACES: "unshare --user true",
    "open_raw_sockets": "perl -e 'socket(S, 2, 3, 1) or exit 1'",
}
"""What it must not do, and a command that does it (2, 3, 1: internet, raw, ICMP)."""
TCP = "perl -e 'socket(S, 2, 1, 0) or exit 1'"
READ, WRITE, MAKE = 'cat "$1/file"', 'echo changed >"$1/file"', 'echo new >"$1/new"'


@pytest.fixture
def enforced(settings: Settings) -> None:
    """Skip where nothing is denied on purpose."""
    if settings.mode is not Mode.ENFORCE:
        pytest.skip(f"the profile is in {settings.mode.value} mode, as the settings ask")


def lets(host: Host, command: str, *, prepare: str = NOTHING, directory: str = "/") -> bool:
    """Tell whether the profile lets a command through that works without it."""
    out = host.check_output("sh -c %s sh %s %s %s", TRY, prepare, command, directory)
    codes: dict[str, str] = dict(line.split("=", 1) for line in out.splitlines())
    assert codes["works"] == "0", f"nothing can be started under {PROFILE}"
    assert codes["free"] == "0", f"fails without the profile too: {command} ({directory})"
    return codes["confined"] == "0"


@pytest.mark.control("NP-CON-01")
def test_apparmor_enabled(host: Host) -> None:
    """A kernel that was started without AppArmor confines nothing, whatever is on disk."""
    enabled, modules = host.check_output(
        "cat /sys/module/apparmor/parameters/enabled && cat /sys/kernel/security/lsm"
    ).splitlines()
    assert enabled == "Y", "it is built in, but not enabled"
    assert "apparmor" in modules.split(","), f"the active security modules are {modules}"


@pytest.mark.control("NP-CON-02")
def test_profile_in_the_kernel_as_asked(host: Host, settings: Settings) -> None:
    """A profile in complain mode only takes notes, one that is not loaded not even that."""
    lines = host.check_output(f"cat {KERNEL}/profiles").splitlines()
    loaded = [line for line in lines if line.startswith(f"{PROFILE} ")]
    wanted = [f"{PROFILE} ({settings.mode.value})"]
    assert loaded == wanted, f"the kernel has {', '.join(loaded) or 'no such profile'}"


@pytest.mark.control("NP-CON-02")
def test_profile_in_the_kernel_is_its_file(host: Host) -> None:
    """What was loaded by hand is gone after a reboot; what was edited comes then."""
    compiled = f"apparmor_parser -Q -K -S {FOLDER}/{PROFILE}"
    same = host.run(f"{compiled} | cmp - {KERNEL}/policy/profiles/{PROFILE}.[0-9]*/raw_data")
    assert same.rc == 0, f"{same.stdout}{same.stderr}".strip()


@pytest.mark.control("NP-CON-02")
def test_profile_loaded_at_boot(host: Host, distribution: Distribution) -> None:
    """A link in one of two folders, or a disabled unit, undoes the profile at the next boot."""
    named = host.check_output(f"find {FOLDER} -name {PROFILE} -printf '%P\\n'").splitlines()
    assert PROFILE in named, f"{FOLDER}/{PROFILE} does not exist"
    undone = [path for path in named if path.startswith(("disable/", "force-complain/"))]
    assert undone == [], f"{FOLDER}/{undone[0]} undoes it"
    unit = distribution.units["apparmor"]
    state = host.check_output("systemctl show -P UnitFileState -- %s", unit)
    assert state == "enabled", f"{unit} is {state}"


@pytest.mark.control("NP-CON-03")
@pytest.mark.parametrize("act", DENIED)
def test_profile_denies(host: Host, enforced: None, distribution: Distribution, act: str) -> None:
    """A workload runs other people's code, and root in it is no reason to trust it."""
    if act == USER_NAMESPACES and not distribution.features["apparmor_userns"]:
        pytest.skip(f"AppArmor of {distribution.title} knows no rules for user namespaces")
    assert not lets(host, DENIED[act]), f"it may {act.replace('_', ' ')}"


@pytest.mark.control("NP-CON-03")
def test_profile_keeps_models_as_they_are(host: Host, enforced: None, settings: Settings) -> None:
    """A model that a workload can change is a model that nobody can trust any more."""
    if not settings.model_dirs:
        pytest.skip("no model directory is asked for")
    for directory in settings.model_dirs:
        reads, writes, makes = (
            lets(host, act, prepare=EMPTY_DISK, directory=directory) for act in (READ, WRITE, MAKE)
        )
        found = {"read": reads, "write": writes, "make": makes}
        wanted = {"read": True, "write": False, "make": False}
        assert found == wanted, f"in {directory} it may {[may for may in found if found[may]]}"


@pytest.mark.control("NP-CON-03")
def test_profile_keeps_itself_as_it_is(host: Host, enforced: None) -> None:
    """Whoever can write profiles is confined by none."""
    assert not lets(host, MAKE, prepare=EMPTY_DISK, directory=FOLDER), f"it may write to {FOLDER}"


@pytest.mark.control("NP-CON-03")
def test_scratch_usable_by_its_group_only(host: Host, settings: Settings) -> None:
    """A profile under which nothing can be written will be switched off."""
    if not settings.scratch_dirs:
        pytest.skip("no scratch directory is asked for")
    for directory in settings.scratch_dirs:
        owner = host.check_output("stat -c '%%U:%%G %%a' -- %s", directory)
        assert owner == f"root:{settings.group} 1770", f"{directory} is {owner}"
        written = lets(host, WRITE, prepare=EMPTY_DISK, directory=directory)
        assert written, f"it may not write to {directory}"


@pytest.mark.control("NP-CON-03")
def test_network_as_asked(host: Host, enforced: None, settings: Settings) -> None:
    """What was not meant to talk to anybody cannot send models or data away."""
    may = lets(host, TCP)
    assert may is settings.network, "it may use TCP" if may else "it may not use TCP"
