"""The hardening layer's life on a container node: applied, tried, broken, mended, taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from nodeproof.lab import containers
from tests.nodes.conftest import PREINSTALL, spread
from tests.repositories import layer_scene
from tests.support import Done

pytestmark = pytest.mark.nodes
BOTH = {"test_life"}

PASSWORD = "zR7-qWx2-Kp9v-Lm4"  # noqa: S105 - of a node that lives for a minute
PEOPLE = f"""
useradd -m -s /bin/bash carol && echo carol:{PASSWORD} | chpasswd 2>/dev/null
useradd -r -s /bin/bash robot
chmod 755 /home/carol; runuser -u carol -- sh -c 'umask 0; touch /home/carol/.mine'
useradd -m -s /bin/bash dave
"""
LOOKS = r"""
find /etc /usr/share/pam-configs /var/lib/pam -type f ! -name '*.cache' ! -name 'ld.so*' \
  ! -path '/etc/.pwd.lock' ! -name '*-' -exec sha256sum {} +
find /etc /usr/share/pam-configs /home -printf '%p %y %m %U %G %l\n'
systemctl list-unit-files --no-legend | grep -v transient | tr -s ' '
dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n'
"""
TRIES = f"""
try() {{ printf "$1" | runuser -u carol -- env LC_ALL=C sudo -S -k true 2>&1 | tail -n 1; }}
try {PASSWORD}
try 'wrong1\\nwrong2\\nwrong3\\n'
faillock --user carol | grep -c ' V$'
try {PASSWORD}
faillock --user carol --reset
try {PASSWORD}
"""
QUICK = ["passwords", "accounts", "sessions", "sudo", "schedules", "banner", "files"]
ASKED: dict[str, Any] = {"topics": QUICK, "lockout": {"tries": 3}}
LOCKS = {f"wrong_passwords_lock[{name}]" for name in ("sudo", "su", "login", "sshd")}
BREAKS: dict[str, tuple[str, set[str]]] = {
    "values": (
        """
        echo minlen=6 >>/etc/security/pwquality.conf; rm -f /var/cache/cracklib/cracklib_dict.*
        echo deny=100 >>/etc/security/faillock.conf
        sed -i 's/remember=24/remember=1/' /etc/pam.d/common-password
        sed -i 's/ENCRYPT_METHOD.*/ENCRYPT_METHOD SHA512/; s/PASS_MAX_DAYS.*/PASS_MAX_DAYS 999/' \
            /etc/login.defs
        chage -M 99999 carol; passwd -qd dave
        rm /etc/profile.d/nodeproof-hardening.sh; systemctl unmask -q ctrl-alt-del.target
        echo nobody >>/etc/cron.allow; chmod 755 /etc/cron.d; echo 'Debian \\r' >/etc/issue
        chmod 755 /etc/update-motd.d/10-uname; chmod 644 /etc/shadow
        mkdir -p /boot/grub; touch /boot/grub/grub.cfg
        """,
        {
            *("new_passwords_are_judged", "words_are_refused", "old_passwords_are_refused"),
            *("passwords_are_kept_slow_to_guess", "new_accounts_grow_old", "passwords_grow_old"),
            *("no_password_is_empty", "silent_shells_end", "keys_do_not_reboot"),
            *("new_files_are_not_for_all[sh]", "new_files_are_not_for_all[bash]"),
            *("schedules_are_for_the_named", "schedules_are_roots", "banner_is_shown[issue]"),
            *("login_says_nothing_of_the_system", "databases_of_accounts_are_roots"),
            "boot_configuration_is_roots",
        }
        | LOCKS,
    ),
    "structure": (
        """
        sed -i '/preauth/d; s/try_first_pass/nullok &/' /etc/pam.d/common-auth
        sed -i '/pwquality/d' /etc/pam.d/common-password
        usermod -s /bin/sh bin; useradd -o -u 0 -g 0 -M toor; useradd -o -u 1000 -g 4 -M ghost
        sed -i '/^ghost:/s/:4:/:4242:/' /etc/passwd
        gpasswd -a carol shadow; chmod 777 /home/carol
        echo 'export TMOUT=5' >/etc/profile.d/a.sh
        echo 'Defaults !use_pty, timestamp_timeout=-1, !authenticate' >/etc/sudoers.d/zz
        echo 'dave ALL=(ALL) NOPASSWD: ALL' >>/etc/sudoers.d/zz
        rm /etc/logrotate.d/nodeproof-sudo
        sed -i '/group=sugroup/d' /etc/pam.d/su; gpasswd -a dave sugroup
        """,
        {
            *("new_passwords_are_judged", "no_password_is_empty"),
            *("system_accounts_are_closed", "only_root_is_root", "groups_of_accounts_exist"),
            *("names_and_numbers_are_unique[passwd-2]", "homes_are_their_owners", "homes_exist"),
            *("programs_have_no_timeout", "sudo_is_logged", "sudo_asks_again"),
            *("sudo_asks_everybody_else", "su_is_for_a_group[su]", "su_is_for_a_group[su-l]"),
        }
        | LOCKS,
    ),
}
KEPT = "/etc /var/cache/cracklib"
MEND = """
cp -a /run/was/etc/. /etc/; cp -a /run/was/cracklib/. /var/cache/cracklib/
rm -rf /boot/grub /etc/sudoers.d/zz /etc/profile.d/a.sh
chmod 750 /home/carol; systemctl mask -q ctrl-alt-del.target
"""


class Scene(layer_scene.Scene):
    """A node with people on it."""

    looks = LOOKS

    def run(self, command: str, **asked: Any) -> Done:
        """Plan, apply or verify it."""
        return self.do(command, {"hardening": asked})

    def as_root(self) -> str:
        """Log in as root with the key, and return who that is."""
        return replace(self.node.access, user="root").run("id -un").stdout


@pytest.fixture(scope="module")
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A node of its own: what is broken here would be in the way of others."""
    distribution: str = request.param
    name = distribution.replace("debian-", "hrd")
    with containers([name], distribution, preinstall=PREINSTALL) as (node,):
        scene = Scene(node, tmp_path_factory.mktemp("hardening"))
        scene.sh(PEOPLE)
        yield scene


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    spread(metafunc, "scene", BOTH, "hardening")


def test_refused_before_the_first_change(scene: Scene) -> None:
    before = scene.state()
    scene.sh("passwd -qd dave")
    assert "dave would be locked out" in scene.refused(scene.run("apply", **ASKED))
    scene.sh("passwd -ql dave; chage -d 2020-01-01 carol")
    assert "carol are older than" in scene.refused(scene.run("apply", **ASKED))
    scene.sh(
        "chage -d $(date +%F) carol; sed -i.old '/pam_unix/i auth required pam_env.so' "
        "/etc/pam.d/common-auth"
    )
    edited = scene.run("apply", **ASKED)
    assert edited.code == 4
    assert "'auth required pam_env.so' is of no profile" in edited.out
    scene.sh("mv /etc/pam.d/common-auth.old /etc/pam.d/common-auth")
    moved = {line for line in scene.state() ^ before if "shadow" not in line}
    assert not moved


def test_life(scene: Scene) -> None:
    """Apply, again, proven, tried, each check failing for its break, mended, taken back."""
    scene.sh("install -D -m 600 ~ops/.ssh/authorized_keys /root/.ssh/authorized_keys")
    before = scene.state()
    first = scene.run("apply", **ASKED)
    assert len(scene.changed(first)) > 25
    assert scene.changed(scene.run("apply", **ASKED)) == []
    assert scene.failed(scene.run("verify", **ASKED)) == set()

    said = scene.sh(TRIES).splitlines()
    right = "carol is not in the sudoers file."
    assert [right in said[0], said[2], right in said[3], right in said[4]] == [
        True,
        "3",
        False,
        True,
    ]
    assert scene.as_root() == "root\n"
    weak = scene.sh("echo carol:password | chpasswd 2>&1 && echo set || :")
    assert "set" not in weak.splitlines()
    rights = scene.sh("umask; stat -c %a /home/carol /home/carol/.mine")
    assert rights.split() == ["0022", "750", "640"]
    assert scene.sh("getent passwd robot").endswith("nologin\n")
    if scene.node.name == "hrd13":
        broken_and_mended(scene)
    scene.back(first)
    assert scene.state() ^ before == set()


def broken_and_mended(scene: Scene) -> None:
    """What is broken is named, and nothing else."""
    for name, (break_it, checks) in BREAKS.items():
        scene.sh(f"rm -rf /run/was; mkdir /run/was; cp -a {KEPT} /run/was; {break_it}")
        assert scene.failed(scene.run("verify", **ASKED)) == checks, name
        scene.sh(MEND)
    assert scene.failed(scene.run("verify", **ASKED)) == set()


ODD = """
install -m 4755 /bin/true /usr/local/bin/odd
install -m 666 /dev/null /usr/local/everybodys; install -o 4242 /dev/null /usr/local/nobodys
install -m 777 -d /usr/local/open
"""
ODD_BREAKS = {
    "programs_of_root_are_known",
    "nothing_is_everybodys_to_write",
    "everything_has_an_owner",
}
BUILT = """
if [ ! -e /var/lib/aide/aide.db ]; then
    systemctl stop nodeproof-aide; aideinit -y -f >/dev/null 2>&1
fi
"""
"""As the unit does it, which gives way to all that runs beside it: here, other tests."""
WATCH_BREAKS = """
systemctl stop -q dailyaidecheck.timer; rm /etc/aide/aide.conf.d/09_nodeproof_*
rm /etc/systemd/system/dailyaidecheck.service.d/nodeproof.conf /var/lib/aide/aide.db
systemctl daemon-reload
"""


def test_integrity(scene: Scene) -> None:
    """AIDE's database is built behind the apply; what is odd is found, and then told by AIDE."""
    asked = {"topics": ["integrity"], "integrity": {"skip": ["/srv/scratch"]}}
    scene.sh("chmod o-w /home/carol/.mine")
    assert "hardening | Begin AIDE's database" in scene.changed(scene.run("apply", **asked))
    assert scene.changed(scene.run("apply", **asked)) == []
    assert scene.failed(scene.run("verify", **asked)) == set()
    scene.sh(f"mkdir -p /srv/scratch; cd /srv/scratch; touch a; chmod 4777 a; {ODD}")
    assert scene.failed(scene.run("verify", **asked)) == ODD_BREAKS
    allowed = {**asked, "integrity": {"skip": ["/srv/scratch"], "suid": ["/usr/local/bin/odd"]}}
    scene.sh(f"rm -r /usr/local/everybodys /usr/local/nobodys /usr/local/open; {BUILT}")
    assert scene.failed(scene.run("verify", **allowed)) == set()
    scene.sh(WATCH_BREAKS)
    broken = scene.failed(scene.run("verify", **allowed))
    assert {"database_is_there", "files_are_compared_daily"} <= broken
    assert {"comparing_gives_way[dailyaidecheck.service]"} <= broken
    assert {"what_is_not_the_nodes_is_not_watched"} <= broken


def test_services(scene: Scene) -> None:
    """What runs is named; what does not is masked; a role and its owner keep what they need."""
    packages = "inetutils-telnet rpcbind"
    scene.sh(f"DEBIAN_FRONTEND=noninteractive apt-get -q -y install {packages} >/dev/null 2>&1")
    asked: dict[str, Any] = {"topics": ["services"]}
    changed = scene.changed(scene.run("apply", **asked))
    assert changed == [
        "hardening | Mask services that no role needs",
        "hardening | Remove clients without encryption",
    ]
    assert scene.changed(scene.run("apply", **asked)) == []
    assert scene.failed(scene.run("verify", **asked)) == {"service_is_off[rpcbind]"}
    assert scene.failed(scene.run("verify", **asked, roles=["slurm"])) == set()
    stopped = scene.run("apply", **asked, services={"stop": True})
    assert scene.failed(scene.run("verify", **asked)) == set()
    scene.sh(
        "systemctl unmask -q rsync; systemctl enable -q rsync; "
        "apt-get -q -y install inetutils-telnet >/dev/null 2>&1"
    )
    broken = scene.failed(scene.run("verify", **asked))
    assert broken == {"service_is_off[rsync]", "client_is_absent[inetutils-telnet]"}
    scene.back(stopped)
    assert "active" in scene.sh("systemctl is-active rpcbind.service rpcbind.socket").split()
