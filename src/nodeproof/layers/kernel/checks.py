"""The kernel's parameters and the modules that it may load, as it runs and as it will boot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest
from testinfra.host import Host

from nodeproof.catalog.hardening.decide import values
from nodeproof.catalog.hardening.model import Decision, parameters
from nodeproof.facts.modules import LoadedModules
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.sysctl import Assignment, Parameter, Sysctl, SysctlFiles, decisive
from nodeproof.layers.kernel.settings import (
    Settings,
    denied,
    kernel_parameters,
    modules,
    own_parameters,
)

Live = Mapping[str, Parameter]
ASK = (
    'for m; do said=$(modprobe -n -v -- "$m" 2>&1); case $said in '
    '*"install /bin/false"*) echo "$m denied";; *) echo "$m $(printf %s "$said" | head -n1)";; '
    "esac; done"
)
"""What modprobe would do; `denied` where it runs /bin/false."""


@pytest.fixture(scope="module")
def live(host: Host, settings: Settings, node: NodeFacts) -> Live:
    """Return the kernel's parameters, of every interface; in a container those that it can set."""
    ours = parameters("sysctl")
    needs = sorted(set().union(*(one.needs for one in ours)))
    keys = [*(one.key for one in ours), *own_parameters(settings), *needs]
    lines = host.check_output(Sysctl().command(",".join(keys)).get_raw_value()).splitlines()
    found = Sysctl().process(lines)
    assert found, "no kernel parameter can be read"
    return {key: one for key, one in found.items() if one.writable or not node.is_container}


@pytest.fixture(scope="module")
def at_boot(host: Host) -> list[Assignment]:
    """Return what files set, in the order in which they are read."""
    return SysctlFiles().process(host.check_output(SysctlFiles().command()).splitlines())


def decided(control: str, settings: Settings, node: NodeFacts, live: Live) -> list[Decision]:
    """Return what a control decides here; skips where it decides nothing."""
    found = [one for one in kernel_parameters(settings) if one.parameter.control == control]
    if not any(one.value is not None or one.exception for one in found):
        pytest.skip(f"kernel.level {settings.level} asks for none of it")
    if node.is_container:
        found = [one for one in found if running(live, one.parameter.key)]
        if not found:
            pytest.skip("a container has its host's kernel")
    return [one for one in found if one.parameter.needs <= live.keys()]


def running(live: Live, key: str) -> dict[str, Parameter]:
    """Return the parameters that a key names: with a star, those of each interface."""
    if "*" not in key:
        return {key: live[key]} if key in live else {}
    each = {name: one for name, one in live.items() if fnmatchcase(name, key)}
    return {name: one for name, one in each.items() if not {"all", "default"} & {*name.split(".")}}


def otherwise(live: Live, key: str, accepted: tuple[str, ...]) -> Iterator[str]:
    """Yield what runs otherwise."""
    found = running(live, key)
    if not found:
        yield f"{key}: this kernel has no such parameter"
    for name, one in found.items():
        if one.value not in accepted:
            yield f"{name} is {one.value}, not {accepted[0]}"


@pytest.fixture
def prove(
    settings: Settings, node: NodeFacts, live: Live, at_boot: list[Assignment]
) -> Callable[[str], None]:
    """Return what asserts that a control's parameters run, and will run after a boot."""

    def proven(control: str) -> None:
        wrong: list[str] = []
        for one in decided(control, settings, node, live):
            key, value = one.parameter.key, one.value
            if one.exception is not None:
                assert one.exception.compensation, f"{key}: nothing guards the node instead"
            if value is not None:
                accepted = (str(value), *map(str, one.parameter.also))
                wrong += [*otherwise(live, key, accepted), *forgotten(at_boot, key, accepted)]
        assert not wrong, "; ".join(wrong)

    return proven


def forgotten(at_boot: list[Assignment], key: str, accepted: tuple[str, ...]) -> Iterator[str]:
    """Yield what another file, or none, sets at boot."""
    line = decisive(at_boot, key)
    if line is None:
        yield f"{key} is in no file, and what runs will be gone after a boot"
    elif line.value not in accepted:
        yield f"{line.file}, line {line.line}, sets {key} = {line.value} at boot"


@pytest.mark.control("NP-KRN-01")
def test_kernel_keeps_its_addresses(prove: Callable[[str], None]) -> None:
    """Whoever knows where things are in memory needs only one more mistake."""
    prove("NP-KRN-01")


@pytest.mark.control("NP-KRN-02")
def test_users_reach_little_of_the_kernel(prove: Callable[[str], None]) -> None:
    """Most ways to become root begin in a part of the kernel that few need."""
    prove("NP-KRN-02")


@pytest.mark.control("NP-KRN-03")
def test_links_of_others_are_not_followed(prove: Callable[[str], None]) -> None:
    """A link in /tmp makes a careful program write where its author did not think of."""
    prove("NP-KRN-03")


@pytest.mark.control("NP-KRN-04")
def test_programs_with_privileges_leave_no_core(prove: Callable[[str], None]) -> None:
    """The memory of such a program holds what its user may not read."""
    prove("NP-KRN-04")


@pytest.mark.control("NP-KRN-05")
def test_node_forwards_as_its_role_says(prove: Callable[[str], None]) -> None:
    """A node that forwards is a way around the firewall; one that does not cuts off containers."""
    prove("NP-KRN-05")


@pytest.mark.control("NP-KRN-06")
def test_network_believes_no_stranger(prove: Callable[[str], None]) -> None:
    """Redirects, source routes and forged addresses let others move the node's traffic."""
    prove("NP-KRN-06")


@pytest.mark.control("NP-KRN-11")
def test_own_parameters_run(
    settings: Settings, node: NodeFacts, live: Live, at_boot: list[Assignment]
) -> None:
    """What somebody asked for must not be undone by a file or a program that came later."""
    ours = own_parameters(settings)
    if not ours:
        pytest.skip("kernel.sysctl asks for no parameter of your own")
    if node.is_container and not any(running(live, key) for key in ours):
        pytest.skip("a container has its host's kernel")
    wrong = []
    for key, value in ours.items():
        accepted = (str(value),)
        wrong += [*otherwise(live, key, accepted), *forgotten(at_boot, key, accepted)]
    assert not wrong, "; ".join(wrong)


def denial(host: Host, node: NodeFacts, names: list[str]) -> list[str]:
    """Return what is wrong with the denial of modules, a sentence each."""
    if not names:
        pytest.skip("no module of this kind is denied")
    if node.is_container and not host.exists("modprobe"):
        pytest.skip("a container loads no modules, and this one has no modprobe")
    lines = host.check_output("sh -c %s sh " + " ".join(["%s"] * len(names)), ASK, *names)
    said = dict(line.split(" ", 1) for line in lines.splitlines())
    wrong = [
        f"modprobe would load {name} ({said.get(name, 'it says nothing')}); apply mends it"
        for name in names
        if said.get(name) != "denied"
    ]
    if node.is_container:  # what is loaded is its host's
        return wrong
    fact = LoadedModules()
    loaded = fact.process(
        host.check_output(fact.command(",".join(names)).get_raw_value()).splitlines()
    )
    return wrong + [f"{name} is loaded; stop what uses it, and modprobe -r it" for name in loaded]


def ours(control: str, settings: Settings) -> list[str]:
    """Return the modules that a control denies."""
    found = [one for one in modules(settings) if one.parameter.control == control]
    for one in found:
        assert one.exception is None or one.exception.compensation
    return list(values(found))


@pytest.mark.control("NP-KRN-07")
def test_rare_file_systems_cannot_be_loaded(
    host: Host, settings: Settings, node: NodeFacts
) -> None:
    """Nobody looks at the code of file systems that nobody uses, but an image can call it."""
    wrong = denial(host, node, ours("NP-KRN-07", settings))
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-KRN-08")
def test_devices_of_passers_by_cannot_be_loaded(
    host: Host, settings: Settings, node: NodeFacts
) -> None:
    """Who plugs in a stick reads it, and FireWire reads memory."""
    wrong = denial(host, node, ours("NP-KRN-08", settings))
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-KRN-09")
def test_rare_networks_cannot_be_loaded(host: Host, settings: Settings, node: NodeFacts) -> None:
    """A socket of any user loads the protocol, with its mistakes."""
    wrong = denial(host, node, ours("NP-KRN-09", settings))
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-KRN-12")
def test_own_denials_hold(host: Host, settings: Settings, node: NodeFacts) -> None:
    """A module with a hole that is known must not load, whoever asks for it."""
    known = {one.key for one in parameters("modules")}
    names = [one for one in denied(settings) if one not in known or one in settings.deny_until]
    wrong = denial(host, node, names)
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-KRN-12")
def test_no_mitigation_is_forgotten(host: Host, settings: Settings) -> None:
    """After its day somebody must look: the hole is mended, or the day is too early."""
    if not settings.deny_until:
        pytest.skip("kernel.deny_until names no module")
    today = datetime.fromtimestamp(int(host.check_output("date +%s")), UTC).date()
    over = [
        f"{name} ({one.reason}) was denied until {one.until}; update the kernel and take it out "
        "of kernel.deny_until, or name a later day"
        for name, one in settings.deny_until.items()
        if today > one.last_day
    ]
    assert not over, "; ".join(over)
