"""What the layer updates makes of settings, and what its looks make of what a node says."""

from __future__ import annotations

import pytest

from nodeproof.layers.updates import policy
from nodeproof.layers.updates.looks import dump, open_updates
from nodeproof.layers.updates.services import as_pattern, carriers, kept_running
from nodeproof.layers.updates.settings import Settings
from nodeproof.layers.updates.signature_checks import BLIND
from nodeproof.settings.roles import Role


@pytest.mark.parametrize(
    ("window", "begins", "minutes"),
    [
        ("02:00-05:00", "*-*-* 02:00:00", 180),
        ("Mon-Fri 22:30-04:00", "Mon..Fri *-*-* 22:30:00", 330),
        ("Sat,Sun 00:00-23:59", "Sat,Sun *-*-* 00:00:00", 1439),
    ],
)
def test_calendar(window: str, begins: str, minutes: int) -> None:
    assert policy.calendar(window) == (begins, minutes)


def test_what_follows_an_upgrade() -> None:
    program = "/usr/local/lib/nodeproof/update-guard"
    assert policy.afterwards(Settings()) == [f"{program} kernels", f"{program} pending"]
    assert policy.afterwards(Settings.model_validate({"kernels": "held"})) == [f"{program} pending"]
    asked = {"reboot": "window", "window": "Sat 22:00-04:00", "drain_hook": "/usr/local/bin/x"}
    assert policy.afterwards(Settings.model_validate(asked))[-1] == (
        f'{program} reboot /usr/local/bin/x "Sat *-*-* 22:00:00" 360'
    )
    asked = {"reboot": "if-needed"}
    assert policy.afterwards(Settings.model_validate(asked))[-1] == f"{program} reboot -"


def test_left_alone_is_the_whole_name() -> None:
    settings = Settings.model_validate({"exclude": ["g++"]})
    assert policy.left_alone(settings, ["libcuda1"]) == ["g[+][+]$", "libcuda1$"]


def test_services_by_role() -> None:
    assert "slurmd" not in kept_running((), ())
    assert "slurmd" in kept_running((Role.SLURM,), ())
    assert {"nvidia-persistenced", "mine"} <= set(kept_running((), ("mine",)))
    assert as_pattern("user@") == "^user[@]"
    assert all(row.why for row in carriers())


LISTED = """Listing...
linux-image-amd64/stable-security 6.12.117-1 amd64 [upgradable from: 6.12.116-1]
openssl/stable-security,stable 3.5.4-1~deb13u1 amd64 [upgradable from: 3.5.1-1]
vim/stable 2:9.1.1-1 amd64 [upgradable from: 2:9.1.0-1]
"""


def test_open_updates_are_those_of_security_suites() -> None:
    assert open_updates(LISTED) == {
        "linux-image-amd64": "6.12.117-1",
        "openssl": "3.5.4-1~deb13u1",
    }


def test_the_last_value_counts() -> None:
    found = dump('A::b "1";\na::B "2";\nA::c:: "x";\nA::c:: "y";\n')
    assert found.last("A::B") == "2"
    assert found.last("A::none") == ""
    assert found.all("A::C") == ["x", "y"]
    with pytest.raises(AssertionError, match="says nothing"):
        dump("")


SOURCES = {
    "deb [trusted=yes] http://a.example ./": ["trusted"],
    "deb [ arch=amd64 Trusted=YES ] http://a.example ./": ["Trusted"],
    "deb [allow-insecure=1] http://a.example ./": ["allow-insecure"],
    "Trusted: yes": ["Trusted"],
    "allow-weak: true": ["allow-weak"],
    "# deb [trusted=yes] http://a.example ./": [],
    "deb [trusted=no signed-by=/a.asc] http://trusted.example/trusted=yes ./": [],
    "Trusted: no": [],
    "deb [signed-by=/a.asc] http://a.example ./": [],
}


@pytest.mark.parametrize("line", SOURCES)
def test_sources_that_are_trusted_blindly(line: str) -> None:
    found = [one["what"] for one in BLIND.finditer(f"/etc/apt/sources.list: {line}\n")]
    assert found == SOURCES[line]
