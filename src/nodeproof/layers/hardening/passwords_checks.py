"""Passwords, as PAM would judge them and shadow holds them."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.facts.node import NodeFacts
from nodeproof.facts.shadow import PasswordData, Shadow
from nodeproof.layers.hardening.asked import needs
from nodeproof.layers.hardening.pam_stack import place, stack
from nodeproof.layers.hardening.settings import Settings, Topic
from nodeproof.operations.keyed import spoken

STRONG = ("y", "gy", "7", "2b", "2y", "6")
"""Methods that crypt(5) calls strong; their costs can be raised."""


@pytest.fixture(scope="module")
def shadow(host: Host) -> dict[str, PasswordData]:
    """Return the state of all passwords."""
    found = Shadow().process(host.check_output(Shadow().command()).splitlines())
    assert found, "getent lists no password"
    return found


def said(host: Host, *files: str) -> dict[str, str]:
    """Return what files of keys and values say together; the last one wins."""
    text = host.check_output("cat -- " + " ".join(files))
    lines = (line.split("#", 1)[0] for line in text.splitlines())
    return dict(spoken(line) for line in lines if line.strip())


@pytest.mark.control("NP-HRD-01")
def test_new_passwords_are_judged(host: Host, settings: Settings) -> None:
    """A password that is short or simple is tried first by whoever guesses."""
    needs(settings, Topic.PASSWORDS)
    password = stack(host, "passwd", "password")
    assert place(password, "pam_pwquality.so") < place(password, "pam_unix.so", "use_authtok")
    # The directory is read first, so the file wins; arguments in the stack would win over both.
    folder = "$(find /etc/security/pwquality.conf.d -name '*.conf' | LC_ALL=C sort)"
    found = said(host, folder, "/etc/security/pwquality.conf")
    wanted = settings.pwquality()
    assert {key: found.get(key) for key in wanted} == wanted
    (line,) = (one for one in password if one.module == "pam_pwquality.so")
    assert not [one for one in line.arguments if one.split("=")[0] in wanted]


@pytest.mark.control("NP-HRD-01")
def test_words_are_refused(host: Host, settings: Settings) -> None:
    """Without a dictionary every password is refused, and nobody can change theirs."""
    needs(settings, Topic.PASSWORDS)
    known = host.check_output("echo password | cracklib-check")
    unknown = host.check_output("echo zR7-qWx2-Kp9v-Lm4 | cracklib-check")
    assert not known.endswith(": OK"), "the dictionary does not know the word password"
    assert unknown.endswith(": OK"), unknown


@pytest.mark.control("NP-HRD-02")
@pytest.mark.parametrize("service", ["sudo", "su", "login", "sshd"])
def test_wrong_passwords_lock(host: Host, settings: Settings, service: str) -> None:
    """Whoever may try for ever finds every password."""
    needs(settings, Topic.PASSWORDS)
    auth, account = (stack(host, service, kind) for kind in ("auth", "account"))
    before, unix = place(auth, "pam_faillock.so", "preauth"), place(auth, "pam_unix.so")
    after = place(auth, "pam_faillock.so", "authfail")
    assert before < unix < after
    assert (auth[before].control, auth[after].control) == ("requisite", "[default=die]")
    place(account, "pam_faillock.so")
    found = said(host, "/etc/security/faillock.conf")
    wanted = {key: value for key, value in settings.faillock().items() if value is not None}
    assert {key: found.get(key) for key in wanted} == wanted
    assert settings.locks_root or "even_deny_root" not in found


@pytest.mark.control("NP-HRD-03")
def test_old_passwords_are_refused(host: Host, settings: Settings) -> None:
    """Who may go back to the old one has not changed it."""
    needs(settings, Topic.PASSWORDS)
    password = stack(host, "passwd", "password")
    at = place(password, "pam_pwhistory.so", "use_authtok", "enforce_for_root")
    assert at < place(password, "pam_unix.so")
    assert f"remember={settings.passwords.remembered}" in password[at].arguments
    mode = host.check_output("stat -c '%a %U' /etc/security/opasswd")
    assert mode == "600 root"


@pytest.mark.control("NP-HRD-04")
def test_passwords_are_kept_slow_to_guess(
    host: Host, settings: Settings, shadow: dict[str, PasswordData]
) -> None:
    """Hashes get lost; then only their cost stands between a thief and the password."""
    needs(settings, Topic.PASSWORDS)
    place(stack(host, "passwd", "password"), "pam_unix.so", "yescrypt")
    assert said(host, "/etc/login.defs").get("ENCRYPT_METHOD") == "YESCRYPT"
    weak = [name for name, one in shadow.items() if one.state == "set" and one.method not in STRONG]
    assert not weak, f"kept by a weak method: {', '.join(weak)}"
    assert not host.check_output("awk -F : '$2 != \"x\" { print $1 }' /etc/passwd")


@pytest.mark.control("NP-HRD-05")
def test_new_accounts_grow_old(host: Host, settings: Settings) -> None:
    """A password that was stolen years ago opens as well as yesterday's."""
    needs(settings, Topic.PASSWORDS)
    wanted = settings.login_defs()
    found = said(host, "/etc/login.defs")
    assert {key: found.get(key) for key in wanted} == wanted
    inactive = f"INACTIVE={settings.ageing.inactive_days}"
    assert inactive in host.check_output("useradd -D").splitlines()


@pytest.mark.control("NP-HRD-05")
def test_passwords_grow_old(
    settings: Settings, node: NodeFacts, shadow: dict[str, PasswordData]
) -> None:
    """An account that nobody uses any more is closed by itself."""
    needs(settings, Topic.PASSWORDS)
    left = {"root", node.login_user, *settings.ageing.never}
    wrong = [
        name
        for name, one in shadow.items()
        if one.state == "set"
        and name not in left
        and (
            one.max_days != settings.ageing.max_days
            or one.min_days != settings.min_days
            or one.warn_days != settings.ageing.warn_days
            or one.inactive_days != settings.ageing.inactive_days
        )
    ]
    assert not wrong, f"have other ages: {', '.join(wrong)}"
    future = [name for name, one in shadow.items() if one.age is not None and one.age < 0]
    assert not future, f"were changed in the future: {', '.join(future)}"


@pytest.mark.control("NP-HRD-06")
def test_no_password_is_empty(
    host: Host, settings: Settings, shadow: dict[str, PasswordData]
) -> None:
    """An empty password is none."""
    needs(settings, Topic.PASSWORDS)
    auth = stack(host, "login", "auth")
    assert "nullok" not in auth[place(auth, "pam_unix.so")].arguments
    empty = [name for name, one in shadow.items() if one.state == "empty"]
    assert not empty, f"have an empty password: {', '.join(empty)}"
