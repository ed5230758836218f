"""Files by which accounts and the boot are decided, as they are."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.layers.hardening.asked import needs
from nodeproof.layers.hardening.settings import Settings, Topic


@pytest.mark.control("NP-HRD-19")
def test_databases_of_accounts_are_roots(host: Host, settings: Settings) -> None:
    """Who writes to them is anybody; who reads the hashes guesses at home."""
    needs(settings, Topic.FILES)
    open_to_all = "/etc/passwd /etc/passwd- /etc/group /etc/group- /etc/shells"
    for_root = "/etc/shadow /etc/shadow- /etc/gshadow /etc/gshadow- /etc/security/opasswd"
    loose = host.check_output(
        f"find {open_to_all} -maxdepth 0 \\( ! -user root -o ! -group root -o -perm /133 \\) "
        "2>/dev/null || true; "
        f"find {for_root} -maxdepth 0 \\( ! -user root -o -perm /137 "
        "-o ! -group root ! -group shadow \\) 2>/dev/null || true"
    )
    assert not loose, f"open to others: {loose}"
    assert host.file("/etc/shadow").exists


@pytest.mark.control("NP-HRD-20")
def test_boot_configuration_is_roots(host: Host, settings: Settings) -> None:
    """It says with which arguments the kernel starts, and may hold a password."""
    needs(settings, Topic.FILES)
    path = "/boot/grub/grub.cfg"
    if not host.file(path).exists:
        pytest.skip(f"there is no {path}")
    assert host.check_output("stat -c '%%a %%U %%G' %s", path) == "600 root root"
