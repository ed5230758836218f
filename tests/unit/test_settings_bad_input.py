"""Bad input is refused for all hosts at once, before any is touched, and said so that it helps."""

# ruff: noqa: E501, S604 - a table is read in rows; no shell is started

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from nodeproof.engine.adapter.inventory import load
from nodeproof.errors import Exit, UsageError
from nodeproof.settings import SettingsError
from nodeproof.settings.site import validate

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1cNJQHhVbGWL5Qkz0sYvNhmIxbqkd1jkR7Rl4TgpEJ ops@example"
RSA_SHORT = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ" + "C" * 160 + "=="


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("a connection was made")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, connect)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


def inventory(folder: Path, **hosts: object) -> str:
    """Write an inventory whose hosts have this data."""
    path = folder / "site.py"
    rows = ", ".join(f"({name!r}, {data!r})" for name, data in hosts.items())
    path.write_text(f"nan = float('nan')\nmachines = [{rows}]\n")
    return str(path)


def users(**user: object) -> dict[str, Any]:
    return {"system": {"users": {"alice": user}}}


# Data of one host, the dotted key, what the message says is allowed, the nearest spelling.
# fmt: off
CASES: dict[str, tuple[dict[Any, Any], str, str, str]] = {
    # layers
    "layer misspelt": ({"shh": {}}, "shh", "system, kernel, network, gpu, cuda, rocm, intel, containers, confinement, ssh, hardening, audit, updates", "ssh"),
    "layer misspelt, no dictionary": ({"systm": 1}, "systm", "system, kernel, network, gpu, cuda, rocm, intel, containers", "system"),
    "layer in capitals": ({"SSH": {}}, "SSH", "system, kernel, network, gpu, cuda, rocm, intel, containers", ""),
    "layer that is not there": ({"openpbs": {}}, "openpbs", "own keys begin with x_", ""),
    "layer is a word": ({"ssh": "yes"}, "ssh", "a dictionary, ssh = {…}", ""),
    "layer is a number": ({"ssh": 5}, "ssh", "a dictionary", ""),
    "layer is a list": ({"system": ["rsync"]}, "system", "a dictionary", ""),
    "layer is true": ({"containers": True}, "containers", "a dictionary", ""),
    "layer is false": ({"containers": False}, "containers", "a dictionary", ""),
    "layer is empty text": ({"ssh": ""}, "ssh", "a dictionary", ""),
    # roles
    "role misspelt": ({"roles": ["slrum"]}, "roles.0", "kubernetes, slurm, openpbs", "slurm"),
    "role in capitals": ({"roles": ["MPI"]}, "roles.0", "mpi, rdma", ""),
    "roles is a word": ({"roles": "slurm"}, "roles", "a valid list", ""),
    "roles is a dictionary": ({"roles": {"slurm": True}}, "roles", "a valid list", ""),
    "role twice": ({"roles": ["mpi", "mpi"]}, "roles", "twice", ""),
    "roles misspelt": ({"role": ["mpi"]}, "role", "own keys begin with x_", "roles"),
    # keys of a layer
    "key misspelt": ({"ssh": {"max_sesions": 10}}, "ssh.max_sesions", "max_sessions,", "max_sessions"),
    "key of another layer": ({"ssh": {"timezone": "Etc/UTC"}}, "ssh.timezone", "allow_users", ""),
    "key as sshd has it": ({"ssh": {"MaxSessions": 1}}, "ssh.MaxSessions", "max_sessions,", "max_sessions"),
    "key with a dash": ({"ssh": {"max-sessions": 1}}, "ssh.max-sessions", "macs", "max_sessions"),
    "key is empty": ({"ssh": {"": 1}}, "ssh", "unknown key", ""),
    "key is a number": ({"ssh": {1: 2}}, "ssh.1", "strings", ""),
    "key is none": ({"ssh": {None: 2}}, "ssh.None", "strings", ""),
    "key in a user misspelt": (users(shel="/bin/sh"), "system.users.alice.shel", "shell", "shell"),
    "key in a user that is not there": (users(word="x"), "system.users.alice.word", "sudo", ""),
    "dotted key": ({"ssh.max_sessions": {}}, "ssh.max_sessions", "own keys", ""),
    # types
    "number as text": ({"ssh": {"max_sessions": "10"}}, "ssh.max_sessions", "a valid integer", ""),
    "number as fraction": ({"ssh": {"max_sessions": 10.5}}, "ssh.max_sessions", "a valid integer", ""),
    "whole number as fraction": ({"ssh": {"max_sessions": 10.0}}, "ssh.max_sessions", "integer", ""),
    "number as boolean": ({"ssh": {"max_sessions": True}}, "ssh.max_sessions", "integer", ""),
    "number as none": ({"ssh": {"max_sessions": None}}, "ssh.max_sessions", "integer", ""),
    "number as list": ({"ssh": {"max_sessions": [10]}}, "ssh.max_sessions", "integer", ""),
    "boolean as word": ({"containers": {"docker": "yes"}}, "containers.docker", "a valid boolean", ""),
    "boolean as number": ({"containers": {"docker": 1}}, "containers.docker", "boolean", ""),
    "boolean as none": ({"ssh": {"password_login": None}}, "ssh.password_login", "boolean", ""),
    "list as word": ({"ssh": {"allow_users": "alice"}}, "ssh.allow_users", "a valid list", ""),
    "list as tuple": ({"ssh": {"macs": ("a",)}}, "ssh.macs", "a valid list", ""),
    "list as set": ({"system": {"packages": {"rsync"}}}, "system.packages", "a valid list", ""),
    "list as dictionary": ({"system": {"packages": {"rsync": 1}}}, "system.packages", "a valid list", ""),
    "list as none": ({"ssh": {"ciphers": None}}, "ssh.ciphers", "a valid list", ""),
    "list of numbers": ({"ssh": {"allow_users": [1]}}, "ssh.allow_users.0", "a valid string", ""),
    "list with none": ({"system": {"packages": ["rsync", None]}}, "system.packages.1", "a valid string", ""),
    "list of lists": ({"system": {"packages": [["rsync"]]}}, "system.packages.0", "a valid string", ""),
    "text as bytes": ({"system": {"timezone": b"Etc/UTC"}}, "system.timezone", "a valid string", ""),
    "users as list": ({"system": {"users": ["alice"]}}, "system.users", "a valid dictionary", ""),
    "user as none": ({"system": {"users": {"alice": None}}}, "system.users.alice", "a valid dictionary", ""),
    "user name as number": ({"system": {"users": {1: {}}}}, "system.users.1", "a valid string", ""),
    # ranges and lengths
    "too many": ({"ssh": {"max_sessions": 101}}, "ssh.max_sessions", "less than or equal to 100", ""),
    "too few": ({"ssh": {"max_auth_tries": 0}}, "ssh.max_auth_tries", "greater than or equal to 1", ""),
    "negative": ({"containers": {"log_max_mb": -5}}, "containers.log_max_mb", "greater than or equal", ""),
    "huge": ({"ssh": {"login_grace_s": 10**30}}, "ssh.login_grace_s", "", ""),
    "empty list": ({"ssh": {"ciphers": []}}, "ssh.ciphers", "at least 1 item", ""),
    "list too long": (
        {"system": {"ntp_servers": [f"ntp{n}" for n in range(17)]}},
        "system.ntp_servers", "at most 16 items", "",
    ),
    "name too long": ({"ssh": {"allow_users": ["a" * 33]}}, "ssh.allow_users.0", "at most 32", ""),
    "empty text": ({"system": {"timezone": ""}}, "system.timezone", "a time zone such as", ""),
    # choices
    "choice misspelt": ({"ssh": {"root_login": "prohibit_password"}}, "ssh.root_login", "no, prohibit-password", "prohibit-password"),
    "choice as boolean": ({"ssh": {"root_login": False}}, "ssh.root_login", "no, prohibit-password", ""),
    "choice as sshd has it": ({"ssh": {"root_login": "yes"}}, "ssh.root_login", "no, prohibit-password", ""),
    "choice in capitals": ({"confinement": {"mode": "Enforce"}}, "confinement.mode", "enforce, complain", "enforce"),
    "choice in a user": (users(sudo="NOPASSWD"), "system.users.alice.sudo", "no, password, passwordless", ""),
    "choice in a user misspelt": (users(sudo="paswordless"), "system.users.alice.sudo", "passwordless", "passwordless"),
    # grammars
    "user name in capitals": ({"ssh": {"allow_users": ["Alice"]}}, "ssh.allow_users.0", "a user name: a-z", ""),
    "user name in a dictionary": ({"system": {"users": {"Alice": {}}}}, "system.users.Alice", "a user name", ""),
    "group with a space": (users(groups=["my group"]), "system.users.alice.groups.0", "a group name", ""),
    "package with a version": ({"system": {"packages": ["rsync=3.2"]}}, "system.packages.0", "a package name", ""),
    "package to remove": ({"system": {"packages": ["rsync-"]}}, "system.packages.0", "a package name", ""),
    "package and architecture": ({"system": {"packages": ["libc6:i386"]}}, "system.packages.0", "a package name", ""),
    "several packages in one": ({"system": {"packages": ["rsync curl"]}}, "system.packages.0", "a package name", ""),
    "time zone misspelt": ({"system": {"timezone": "Europe/Berln"}}, "system.timezone", "is not a time zone", "Europe/Berlin"),
    "time zone as offset": ({"system": {"timezone": "+02:00"}}, "system.timezone", "a time zone such as", ""),
    "time zone leaves its folder": ({"system": {"timezone": "../../etc/passwd"}}, "system.timezone", "a time zone", ""),
    "host name in capitals": ({"system": {"hostname": "GPU1"}}, "system.hostname", "a host name: lower-case", ""),
    "host name with a score": ({"system": {"hostname": "gpu_1"}}, "system.hostname", "a host name", ""),
    "host name with two dots": ({"system": {"hostname": "gpu..lab"}}, "system.hostname", "a host name", ""),
    "time server as address": ({"system": {"ntp_servers": ["http://ntp"]}}, "system.ntp_servers.0", "IP address", ""),
    "shell by name": (users(shell="bash"), "system.users.alice.shell", "an absolute path", ""),
    "shell above": (users(shell="/bin/../tmp/sh"), "system.users.alice.shell", "must not contain ..", ""),
    "key is nonsense": (users(keys=["nonsense"]), "system.users.alice.keys.0", "a line of an OpenSSH .pub file", ""),
    "key was cut": (users(keys=[KEY[:60]]), "system.users.alice.keys.0", "was the key cut?", ""),
    "key is private": (users(keys=["-----BEGIN OPENSSH PRIVATE KEY-----"]), "system.users.alice.keys.0", ".pub file", ""),
    "key with options": (users(keys=[f'command="x" {KEY}']), "system.users.alice.keys.0", ".pub file", ""),
    "key of an old type": (users(keys=["ssh-dss " + KEY.split()[1]]), "system.users.alice.keys.0", "ssh-ed25519", ""),
    "key says another type": (users(keys=["ssh-rsa " + KEY.split()[1]]), "system.users.alice.keys.0", "does not hold a ssh-rsa key", ""),
    "key is short": (users(keys=[RSA_SHORT]), "system.users.alice.keys.0", "fewer than 2048 bits", ""),
    "path of the system": ({"confinement": {"scratch_dirs": ["/etc"]}}, "confinement.scratch_dirs.0", "belongs to the system", ""),
    "the whole system": ({"confinement": {"model_dirs": ["/"]}}, "confinement.model_dirs.0", "name a directory below it", ""),
    "device elsewhere": ({"confinement": {"devices": ["/etc/x"]}}, "confinement.devices.0", "begin with /dev/", ""),
    "pattern with one brace": ({"confinement": {"executables": ["/a{b"]}}, "confinement.executables.0", "braces that do not match", ""),
    "two keys that exclude each other": ({"confinement": {"scratch_dirs": ["/srv/models/x"]}}, "confinement", "lies in one of model_dirs", ""),
    # duplicates
    "package twice": ({"system": {"packages": ["rsync", "curl", "rsync"]}}, "system.packages", "holds 'rsync' twice", ""),
    "user twice": ({"ssh": {"allow_users": ["ops", "ops"]}}, "ssh.allow_users", "twice", ""),
    "key twice": (users(keys=[KEY, KEY]), "system.users.alice.keys", "twice", ""),
    # how the host is reached
    "port as text": ({"ssh_port": "22"}, "ssh_port", "a valid integer", ""),
    "port zero": ({"ssh_port": 0}, "ssh_port", "greater than or equal to 1", ""),
    "port too high": ({"ssh_port": 65536}, "ssh_port", "less than or equal to 65535", ""),
    "port misspelt": ({"ssh_prot": 22}, "ssh_prot", "", "ssh_port"),
    "user misspelt": ({"ssh_usr": "ops"}, "ssh_usr", "", "ssh_user"),
    "strict misspelt": ({"ssh_strict_hostkey_checking": "yes"}, "ssh_strict_hostkey_checking", "", "ssh_strict_host_key_checking"),
    "host keys not checked": ({"ssh_strict_host_key_checking": "no"}, "ssh_strict_host_key_checking", "yes", ""),
    "host keys trusted at first": ({"ssh_strict_host_key_checking": "accept-new"}, "ssh_strict_host_key_checking", "yes", ""),
    "host keys as boolean": ({"ssh_strict_host_key_checking": False}, "ssh_strict_host_key_checking", "yes", ""),
    "address is an option": ({"ssh_hostname": "-oProxyCommand=id"}, "ssh_hostname", "a host name or an IP address", ""),
    "address with a user": ({"ssh_hostname": "ops@node1"}, "ssh_hostname", "a host name or an IP address", ""),
    "address is empty": ({"ssh_hostname": ""}, "ssh_hostname", "a host name or an IP address", ""),
    "login is an option": ({"ssh_user": "-oProxyCommand=id"}, "ssh_user", "a user name: letters", ""),
    "login is a number": ({"ssh_user": 0}, "ssh_user", "a valid string", ""),
    "key file is empty": ({"ssh_key": ""}, "ssh_key", "", ""),
    "key file is a list": ({"ssh_key": ["id"]}, "ssh_key", "a valid string", ""),
    "retries negative": ({"ssh_connect_retries": -1}, "ssh_connect_retries", "greater than or equal to 0", ""),
    "protocol misspelt": ({"ssh_file_transfer_protocol": "ftp"}, "ssh_file_transfer_protocol", "sftp, scp", "sftp"),
    "arguments as list": ({"ssh_paramiko_connect_kwargs": [1]}, "ssh_paramiko_connect_kwargs", "a valid dictionary", ""),
}
# fmt: on


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused(tmp_path: Path, case: str) -> None:
    data, key, allowed, nearest = CASES[case]
    source = inventory(tmp_path, **{"gpu-7.lab": data, "right": {"ssh": {"max_sessions": 10}}})
    with pytest.raises(SettingsError) as caught:
        load(source)
    assert caught.value.exit_code is Exit.USAGE
    assert caught.value.hint
    (line,) = caught.value.message.splitlines()[1:]
    assert line.startswith(f"  {source}: gpu-7.lab: {key}")
    assert line.removeprefix(f"  {source}: gpu-7.lab: {key}")[0] in ":."
    assert allowed in line
    assert (f"did you mean {nearest}?" if nearest else "") in line
    assert ("did you mean" in line) is bool(nearest)


def test_all_problems_of_all_hosts_at_once(tmp_path: Path) -> None:
    source = inventory(
        tmp_path,
        a={"ssh": {"max_sessions": 0, "max_sesions": 1}, "ssh_port": "22"},
        b={"system": {"timezone": "Mars/Olympus", "packages": [1, "-x"]}, "shh": {}},
        c={},
        d={"ssh": {"allow_users": "alice"}},
    )
    with pytest.raises(SettingsError) as caught:
        load(source, limit=["c"])
    keys = [(problem.host, problem.key) for problem in caught.value.problems]
    assert sorted(keys) == [
        ("a", "ssh.max_sesions"),
        ("a", "ssh.max_sessions"),
        ("a", "ssh_port"),
        ("b", "shh"),
        ("b", "system.packages.0"),
        ("b", "system.packages.1"),
        ("b", "system.timezone"),
        ("d", "ssh.allow_users"),
    ]
    assert caught.value.message.startswith("settings: 8 problems on 3 hosts\n")
    assert len(caught.value.message.splitlines()) == 9


def test_what_many_hosts_share_is_said_once(tmp_path: Path) -> None:
    wrong = {"ssh": {"max_sessions": 0}}
    source = inventory(tmp_path, **{f"node{n:03}": wrong for n in range(100)})
    with pytest.raises(SettingsError) as caught:
        load(source)
    assert caught.value.message.splitlines()[0] == "settings: 100 problems on 100 hosts"
    (line,) = caught.value.message.splitlines()[1:]
    assert f"{source}: node000 and 99 more: ssh.max_sessions: " in line


SECRETS: dict[str, dict[str, Any]] = {
    "password of two lines": {"ssh_password": "hunter2\n"},
    "password in a list": {"ssh_password": ["hunter2"]},
    "key password": {"ssh_key_password": {"is": "hunter2"}},
    "password in arguments": {"ssh_paramiko_connect_kwargs": ["hunter2"]},
    "password misspelt": {"ssh_pasword": "hunter2"},
    "password in a dictionary": {"ssh_pasword": {"is": "hunter2"}},
}


@pytest.mark.parametrize("case", SECRETS)
def test_secrets_are_not_shown(tmp_path: Path, case: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(inventory(tmp_path, node1=SECRETS[case]))
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {caught.value.problems}"


def test_a_long_value_is_cut_and_stays_on_one_line(tmp_path: Path) -> None:
    source = inventory(tmp_path, node1={"system": {"timezone": "x\n" * 10_000}})
    with pytest.raises(SettingsError) as caught:
        load(source)
    assert len(caught.value.message.splitlines()) == 2
    assert len(caught.value.message) < 400 + 2 * len(source)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"ssh": None, "system": None},
        {"ssh": {}},
        {"x_rack": 7, "x_owner": {"name": "ops"}},
        {"colour": "blue"},
        {1: 2},
        {"_sudo": True},
        {"ssh_port": 2222, "ssh_hostname": "192.0.2.7", "ssh_user": "ops"},
        {"ssh_hostname": "2001:db8::7"},
        {"ssh_hostname": "::1"},
        {"ssh_hostname": "gpu_7.lab"},
        {"ssh_user": "LAB\\ops", "ssh_key": "~/keys/my key"},
        {"system": {"packages": ["g++", "libstdc++6", "python3.11"]}},
        {"system": {"users": {"alice": {"keys": [KEY], "sudo": "passwordless"}}}},
        {"system": {"users": {"_apt-1": {"groups": ["share$"]}}}},
        {"system": {"hostname": "gpu-7.lab.example"}},
        {"confinement": {"devices": ["/dev/nvidia*", "/dev/dri/{card,render}*"]}},
    ],
)
def test_good_input_is_not_refused(data: dict[str, Any]) -> None:
    assert validate("site.py", {"node1": data})["node1"].host == "node1"


# The inventory itself


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes = [", "SyntaxError"),
        ("nodes = [missing]\n", "line 1: NameError: name 'missing' is not defined"),
        ("import nonsense_module\n", "ModuleNotFoundError: No module named 'nonsense_module'"),
        ("", "names no host"),
        ("nodes = []\n", "names no host"),
        ("x = 1 / 0\nnodes = ['a']\n", "line 1: ZeroDivisionError"),
        ("nodes = [('a', {'ssh': {}}), 5]\n", ""),
    ],
)
def test_an_inventory_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(str(path))
    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_mistake_in_group_data_names_its_file(tmp_path: Path) -> None:
    data = tmp_path / "group_data" / "machines.py"
    data.parent.mkdir()
    data.write_text("ssh = {}\nsystem = {'timezone': zone}\n")
    with pytest.raises(UsageError) as caught:
        load(inventory(tmp_path, node1={}))
    assert caught.value.message == f"{data}, line 2: NameError: name 'zone' is not defined"


@pytest.mark.parametrize(
    ("limit", "hint"), [("nodee1", "did you mean node1?"), ("zzz", None), ("machinez", "machines")]
)
def test_a_limit_that_matches_nothing(tmp_path: Path, limit: str, hint: str | None) -> None:
    with pytest.raises(UsageError, match=f"--limit {limit}: no host or group") as caught:
        load(inventory(tmp_path, node1={}, node2={}), limit=[limit])
    assert (hint in (caught.value.hint or "")) if hint else caught.value.hint is None


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        ([], ["node1", "node2", "other"]),
        (["node1"], ["node1"]),
        (["node*"], ["node1", "node2"]),
        (["machines"], ["node1", "node2", "other"]),
        (["other", "node1"], ["node1", "other"]),
    ],
)
def test_a_limit_chooses_hosts(tmp_path: Path, limit: list[str], names: list[str]) -> None:
    source = inventory(tmp_path, node1={}, node2={}, other={})
    assert list(load(source, limit=limit).names) == names
