"""Sessions, sudo and su, schedules and banners, as who logs in meets them."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from nodeproof.facts.node import NodeFacts
from nodeproof.facts.users import Accounts
from nodeproof.layers.hardening.asked import needs
from nodeproof.layers.hardening.pam_stack import place, stack
from nodeproof.layers.hardening.settings import Settings, Topic

AS_NOBODY = "runuser -u nobody -- env -i HOME=/nonexistent PATH=/usr/bin:/bin "


@pytest.fixture(scope="module")
def defaults(host: Host, node: NodeFacts) -> dict[str, str]:
    """Return the defaults of sudo for who connects, as sudo resolves them; the last one wins."""
    text = host.check_output("LC_ALL=C sudo -l -U %s", node.login_user)
    head, _, rest = text.partition(":\n")
    assert head.startswith("Matching Defaults entries"), text
    entries = rest.split("\n\n", 1)[0].replace("\n", " ").split(", ")
    pairs = (entry.strip().partition("=") for entry in entries)
    return {key: value for key, _, value in pairs}


@pytest.mark.control("NP-HRD-11")
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_new_files_are_not_for_all(host: Host, settings: Settings, shell: str) -> None:
    """What a user forgets to protect is protected already."""
    needs(settings, Topic.SESSIONS)
    found = host.check_output(f"cd / && {AS_NOBODY}{shell} -lc umask")
    lacking = int(settings.sessions.umask, 8)
    assert int(found, 8) & lacking == lacking, f"a login shell has the umask {found}"


@pytest.mark.control("NP-HRD-12")
def test_silent_shells_end(host: Host, settings: Settings) -> None:
    """A shell that was left open is used by whoever comes by."""
    needs(settings, Topic.SESSIONS)
    asked = "'echo $TMOUT; TMOUT=0 2>/dev/null; echo after; '"
    found = host.check_output(f"cd / && {AS_NOBODY}bash -lic {asked} 2>/dev/null || true")
    assert found == str(settings.sessions.timeout_s), f"TMOUT is, or can be set to: {found}"


@pytest.mark.control("NP-HRD-12")
def test_programs_have_no_timeout(host: Host, settings: Settings) -> None:
    """A batch job's shell that waits for its input must not take a person's timeout for its own."""
    needs(settings, Topic.SESSIONS)
    found = host.check_output(f"cd / && {AS_NOBODY}bash -lc 'echo none$TMOUT'")
    child = host.check_output(f"cd / && {AS_NOBODY}bash -lic 'sh -c \"echo none\\$TMOUT\"' 2>&-")
    assert (found, child) == ("none", "none")


@pytest.mark.control("NP-HRD-13")
def test_keys_do_not_reboot(host: Host, settings: Settings) -> None:
    """Three keys on a console must not end a month of training."""
    needs(settings, Topic.SESSIONS)
    state = host.check_output("systemctl show -p LoadState --value ctrl-alt-del.target")
    assert state == "masked"


@pytest.mark.control("NP-HRD-14")
def test_sudo_is_logged(host: Host, settings: Settings, defaults: dict[str, str]) -> None:
    """What was done as root must be known afterwards."""
    needs(settings, Topic.SUDO)
    assert "use_pty" in defaults
    assert "!use_pty" not in defaults
    assert defaults.get("logfile") == "/var/log/sudo.log"
    log = "/var/log/sudo.log"
    loose = host.check_output(f"! [ -e {log} ] || find {log} ! -user root -o -perm /077")
    assert not loose, f"{log} is open to others"
    turned = host.check_output("logrotate -d /etc/logrotate.conf 2>&1")
    assert "considering log /var/log/sudo.log" in turned, "logrotate does not turn sudo's log over"


@pytest.mark.control("NP-HRD-15")
def test_sudo_asks_again(settings: Settings, defaults: dict[str, str]) -> None:
    """A password that is remembered for ever is asked for once, of whoever comes first."""
    needs(settings, Topic.SUDO)
    assert float(defaults["timestamp_timeout"]) == settings.sudo.remembers_min
    assert "!authenticate" not in defaults


@pytest.mark.control("NP-HRD-15")
def test_sudo_asks_everybody_else(host: Host, settings: Settings, node: NodeFacts) -> None:
    """Who becomes root without a password is root for whoever sits down at the screen."""
    needs(settings, Topic.SUDO)
    script = (
        "for f in /etc/sudoers /etc/sudoers.d/*; do "
        "case ${f##*/} in *.*|*~|nodeproof-*) continue;; esac; "
        '[ -f "$f" ] && cvtsudoers -e -f json -s defaults "$f" | tr -d "\\n"; echo; done'
    )
    free = set()
    for text in filter(str.strip, host.check_output(script).splitlines()):
        for spec in json.loads(text).get("User_Specs", []):
            options = [o for c in spec["Cmnd_Specs"] for o in c.get("Options", [])]
            if any(option.get("authenticate") is False for option in options):
                free |= {str(name) for user in spec["User_List"] for name in user.values()}
    others = free - {"root", node.login_user}
    assert not others, f"become root without a password: {', '.join(sorted(others))}"


@pytest.mark.control("NP-HRD-16")
@pytest.mark.parametrize("service", ["su", "su-l"])
def test_su_is_for_a_group(host: Host, settings: Settings, service: str) -> None:
    """Sudo leaves a name in the log; su asks for root's password, which many would know."""
    needs(settings, Topic.SUDO)
    auth = stack(host, service, "auth")
    group = settings.sudo.su_group
    at = place(auth, "pam_wheel.so", "use_uid", f"group={group}")
    assert auth[at].control in ("required", "requisite")
    assert at < place(auth, "pam_unix.so")
    found = Accounts().process(host.check_output(Accounts().command()).splitlines())
    assert group in found.groups, f"there is no group {group}"
    assert found.members(group) == {*settings.sudo.su_users}


@pytest.mark.control("NP-HRD-17")
def test_schedules_are_for_the_named(host: Host, settings: Settings) -> None:
    """What runs later runs when nobody looks."""
    needs(settings, Topic.SCHEDULES)
    wanted = sorted({"root", *settings.schedules.users})
    for program in ("cron", "at"):
        allowed = host.check_output("cat /etc/%s.allow", program).split()
        assert sorted(allowed) == wanted, f"may use {program}: {', '.join(allowed)}"
        assert host.check_output("stat -c '%%a %%U' /etc/%s.allow", program) == "640 root"
    tried = host.run("cd / && runuser -u nobody -- crontab -l")
    assert tried.rc == 127 or "not allowed" in tried.stderr, "nobody may use crontab"


@pytest.mark.control("NP-HRD-17")
def test_schedules_are_roots(host: Host, settings: Settings) -> None:
    """Who writes to a schedule of root's is root soon; who reads it knows when nobody looks."""
    needs(settings, Topic.SCHEDULES)
    loose = host.check_output(
        "find /etc/crontab /etc/cron.d /etc/cron.hourly /etc/cron.daily /etc/cron.weekly "
        "/etc/cron.monthly /etc/cron.yearly -maxdepth 0 \\( ! -user root -o -perm /077 \\) "
        "2>/dev/null || true"
    )
    assert not loose, f"open to others: {loose}"


@pytest.mark.control("NP-HRD-18")
@pytest.mark.parametrize("name", ["issue", "issue.net", "motd"])
def test_banner_is_shown(host: Host, settings: Settings, name: str) -> None:
    """Who comes uninvited has been told so; and has not been told which holes to try."""
    needs(settings, Topic.BANNER)
    path = f"/etc/{name}"
    assert host.check_output("cat %s", path) == settings.banner.text
    assert host.check_output("stat -c '%%a %%U' %s", path) == "644 root"


@pytest.mark.control("NP-HRD-18")
def test_login_says_nothing_of_the_system(host: Host, settings: Settings, node: NodeFacts) -> None:
    """A version is a list of holes."""
    needs(settings, Topic.BANNER)
    said = host.check_output("if [ -d /etc/update-motd.d ]; then run-parts /etc/update-motd.d; fi")
    assert node.kernel not in said
    assert node.os_name not in said
