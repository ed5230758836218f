"""Profiles of PAM, as pam-auth-update(8) reads them."""

from __future__ import annotations

FAILLOCK = """\
Name: Lock accounts after wrong passwords (nodeproof)
Default: no
Priority: 0
Auth-Type: Primary
Auth:
\t[default=die]\t\t\tpam_faillock.so authfail
"""
"""After all that knows passwords: who comes here had a wrong one."""

PREAUTH = """\
Name: Refuse locked accounts, forget wrong passwords after a right one (nodeproof)
Default: no
Priority: 1024
Auth-Type: Primary
Auth:
\trequisite\t\t\tpam_faillock.so preauth
Account-Type: Primary
Account:
\trequired\t\t\tpam_faillock.so
"""
"""Before them."""

PWHISTORY = """\
Name: Refuse passwords that were used before (nodeproof)
Default: no
Priority: 1023
Password-Type: Primary
Password:
\trequisite\t\t\tpam_pwhistory.so remember={remember} enforce_for_root try_first_pass use_authtok
"""
"""Between pwquality, which asks for the new one at 1024, and unix, which sets it at 256."""


def profiles(remember: int) -> dict[str, str]:
    """Return the layer's profiles, by name."""
    return {
        "nodeproof-faillock": FAILLOCK,
        "nodeproof-faillock-preauth": PREAUTH,
        "nodeproof-pwhistory": PWHISTORY.format(remember=remember),
    }
