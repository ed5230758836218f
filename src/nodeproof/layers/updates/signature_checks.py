"""Whose packages the node takes."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from nodeproof.layers.updates.looks import dump

FORBIDDEN = (
    "APT::Get::AllowUnauthenticated",
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowWeakRepositories",
    "Acquire::AllowDowngradeToInsecureRepositories",
)
_YES = ("yes", "true", "with", "on", "enable", "1")
"""What apt takes for true (StringToBool of apt-pkg)."""
_SOURCES = (
    "for at in /etc/apt/sources.list /etc/apt/sources.list.d/*.list "
    '/etc/apt/sources.list.d/*.sources; do [ ! -f "$at" ] || sed "s|^|$at: |" -- "$at"; done'
)
BLIND = re.compile(
    r"""^(?P<at>\S+):[ ]+
    (?:deb(?:-src)?[ \t]+\[(?:[^]\n]*[ \t])?)?  # an option of a line, or a field of a stanza
    (?P<what>trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure)
    [ \t]*[=:][ \t]*(?:yes|true|with|on|enable|1)(?=[\s\]]|$)""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
"""Options by which a source is trusted whoever signs it; see sources.list(5)."""


@pytest.mark.control("NP-UPD-05")
@pytest.mark.parametrize("key", FORBIDDEN)
def test_signatures_enforced(host: Host, key: str) -> None:
    """A package that nobody signed may be anybody's."""
    found = dump(host.check_output("apt-config dump")).last(key)
    assert found.lower() not in _YES, f"{key} is {found}: apt takes what nobody signed"


@pytest.mark.control("NP-UPD-05")
def test_no_source_trusted_blindly(host: Host) -> None:
    """One repository that is trusted without a key may supply every package."""
    blind = [f"{one['at']}: {one['what']}" for one in BLIND.finditer(host.check_output(_SOURCES))]
    assert not blind, f"trusted whoever signs: {', '.join(blind)}"


@pytest.mark.control("NP-UPD-05")
def test_our_sources_have_their_keys(host: Host) -> None:
    """A key that every repository may use is as good as the worst of them keeps it."""
    said = host.check_output(_SOURCES)
    ours = set(re.findall(r"^(/etc/apt/sources\.list\.d/nodeproof-\S+): ", said, re.MULTILINE))
    if not ours:
        pytest.skip("no repository of nodeproof's is there")
    keys = dict(re.findall(r"^(\S+/nodeproof-\S+): Signed-By: (/\S+)$", said, re.MULTILINE))
    assert ours == keys.keys(), f"without a key of its own: {', '.join(sorted(ours - keys.keys()))}"
    wrong = [
        path
        for path in sorted(set(keys.values()))
        if host.check_output("stat -Lc '%%U %%F' -- %s 2>&1; true", path) != "root regular file"
        or int(host.check_output("stat -Lc %%a -- %s", path), 8) & 0o022
    ]
    assert not wrong, f"no file of root's alone: {', '.join(wrong)}"
