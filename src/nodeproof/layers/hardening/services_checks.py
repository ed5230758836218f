"""Services and clients that a server does without, as they run and are installed."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.catalog.hardening.model import Decision, parameters
from nodeproof.facts.packages import PackagesData
from nodeproof.layers.hardening.asked import needs
from nodeproof.layers.hardening.services_settings import CLIENTS, SERVICES
from nodeproof.layers.hardening.settings import Settings, Topic


def named(decisions: tuple[Decision, ...], key: str) -> Decision:
    """Return what was decided of one; skip one that stays, with the reason."""
    (found,) = (one for one in decisions if one.parameter.key == key)
    if found.value is None:
        why = found.exception
        pytest.skip(f"{why.reason}; {why.compensation}" if why else f"{key} may stay")
    return found


@pytest.mark.control("NP-HRD-25")
@pytest.mark.parametrize("service", [one.key for one in parameters(SERVICES)])
def test_service_is_off(host: Host, settings: Settings, service: str) -> None:
    """A service that nobody needs is a door that nobody watches."""
    needs(settings, Topic.SERVICES)
    named(settings.services_decided(), service)
    shown = host.check_output(
        "systemctl show -p ActiveState,UnitFileState %s %s",
        f"{service}.service",
        f"{service}.socket",
    )
    assert shown.count("ActiveState=") == 2, f"systemd does not say how {service} is"
    wrong = {"ActiveState=active", "ActiveState=reloading", "UnitFileState=enabled"}
    assert not wrong & {*shown.split()}, f"{service} runs, or starts at boot"


@pytest.mark.control("NP-HRD-26")
@pytest.mark.parametrize("client", [one.key for one in parameters(CLIENTS)])
def test_client_is_absent(settings: Settings, packages: PackagesData, client: str) -> None:
    """What it sends, passwords too, can be read on the way."""
    needs(settings, Topic.SERVICES)
    named(settings.clients_decided(), client)
    assert packages.installed, "no package is known"
    assert client not in packages.installed
