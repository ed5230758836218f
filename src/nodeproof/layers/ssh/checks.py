"""The OpenSSH server, as it would treat a connection (not as its files read)."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.layers.ssh.facts import UNREAD
from nodeproof.layers.ssh.settings import RootLogin, Settings

Effective = dict[str, list[str]]


@pytest.fixture(scope="module")
def sshd(host: Host) -> Effective:
    """Return the effective settings of a connection from elsewhere, as sshd resolves them."""
    command = "sshd -T -C user=nobody,host=elsewhere,addr=192.0.2.1,laddr=192.0.2.2,lport=22"
    values: Effective = {}
    for line in host.check_output(command).splitlines():
        key, _, value = line.partition(" ")
        values.setdefault(key, []).append(value)
    return values


def yes(value: bool) -> str:
    """Return how sshd writes a boolean."""
    return "yes" if value else "no"


@pytest.mark.control("NP-SSH-01")
def test_root_login_as_asked(sshd: Effective, settings: Settings) -> None:
    """A login as root leaves no name in the log."""
    names = {RootLogin.NO: "no", RootLogin.KEY: "without-password"}
    assert sshd["permitrootlogin"] == [names[settings.root_login]]


@pytest.mark.control("NP-SSH-02")
def test_passwords_as_asked(sshd: Effective, settings: Settings) -> None:
    """Passwords are guessed; keys are not."""
    found = {
        key: sshd[key][0] for key in ("passwordauthentication", "kbdinteractiveauthentication")
    }
    assert found == {
        "passwordauthentication": yes(settings.password_login),
        "kbdinteractiveauthentication": "no",
    }


@pytest.mark.control("NP-SSH-02")
@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("permitemptypasswords", "no"),
        ("hostbasedauthentication", "no"),
        ("ignorerhosts", "yes"),
        ("pubkeyauthentication", "yes"),
        ("strictmodes", "yes"),
        ("permituserenvironment", "no"),
    ],
)
def test_authentication_strict(sshd: Effective, key: str, wanted: str) -> None:
    """Only a key that is the user's own opens the door."""
    assert sshd[key] == [wanted]


@pytest.mark.control("NP-SSH-03")
@pytest.mark.parametrize(
    ("key", "setting"),
    [("ciphers", "ciphers"), ("macs", "macs"), ("kexalgorithms", "key_exchange")],
)
def test_algorithms_only_as_asked(
    sshd: Effective, settings: Settings, key: str, setting: str
) -> None:
    """One weak algorithm that both sides know is enough for an attacker in between."""
    offered = sshd[key][0].split(",")
    extra = set(offered) - set(getattr(settings, setting))
    assert offered[0], f"sshd offers no {key}"
    assert not extra, f"sshd also offers {', '.join(sorted(extra))}"


@pytest.mark.control("NP-SSH-04")
def test_who_may_log_in(sshd: Effective, settings: Settings) -> None:
    """Only the users and groups asked for may log in."""
    # The main file repeats what the drop-in says.
    found = ({*sshd.get("allowusers", [])}, {*sshd.get("allowgroups", [])})
    assert found == ({*settings.allow_users}, {*settings.allow_groups})


@pytest.mark.control("NP-SSH-05")
def test_forwarding_as_asked(sshd: Effective, settings: Settings) -> None:
    """Forwarding carries traffic around the firewall and lends the user's keys to the node."""
    wanted = {
        "allowtcpforwarding": yes(settings.tcp_forwarding),
        "allowstreamlocalforwarding": yes(settings.tcp_forwarding),
        "allowagentforwarding": yes(settings.agent_forwarding),
        "x11forwarding": yes(settings.x11_forwarding),
        "permittunnel": "no",
        "gatewayports": "no",
    }
    assert {key: sshd[key][0] for key in wanted} == wanted


@pytest.mark.control("NP-SSH-06")
def test_sessions_limited(sshd: Effective, settings: Settings) -> None:
    """Limits stop guessing and free what silent clients hold."""
    wanted = {
        "maxauthtries": settings.max_auth_tries,
        "maxsessions": settings.max_sessions,
        "logingracetime": settings.login_grace_s,
        "clientaliveinterval": settings.client_alive_s,
        "clientalivecountmax": settings.client_alive_count,
    }
    assert {key: int(sshd[key][0]) for key in wanted} == wanted


@pytest.mark.control("NP-SSH-07")
def test_files_tight(host: Host) -> None:
    """Who can write sshd's files decides who may log in; who reads a host key can pose as us."""
    loose = host.check_output(
        "find /etc/ssh ! -user root -o ! -type l -perm /022 -o -name 'ssh_host_*_key' -perm /077"
    )
    assert not loose, f"not root's, or open to others: {loose}"
    dropin = host.check_output("stat -c '%a %U' /etc/ssh/sshd_config.d/10-nodeproof.conf")
    assert dropin == "600 root"
    assert host.check_output("stat -c '%a %U' /etc/ssh/sshd_config") == "600 root"


@pytest.mark.control("NP-SSH-08")
def test_server_runs(host: Host, distribution: Distribution) -> None:
    """A server that does not come back after a reboot is a node that is lost."""
    unit = distribution.units["ssh"]
    state = host.check_output("systemctl show -p ActiveState,UnitFileState -- %s", unit)
    assert "ActiveState=active" in state, f"{unit} does not run"
    assert "UnitFileState=enabled" in state, f"{unit} does not start at boot"


@pytest.mark.control("NP-SSH-08")
def test_server_has_taken_up_its_files(host: Host, distribution: Distribution) -> None:
    """What is on disk protects nobody until the running server has read it."""
    unit = distribution.units["ssh"]
    assert host.run("sshd -t").succeeded, "the configuration on disk is not valid"
    assert host.file("/run/sshd.pid").exists, f"{unit} does not run"
    unread = host.check_output(UNREAD)
    assert not unread, f"{unit} has not been reloaded since these changed: {unread}"
