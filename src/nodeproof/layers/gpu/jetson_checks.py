"""What a Jetson is set to, as its own programs say."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.catalog.overlay import current
from nodeproof.errors import UsageError
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.health.units import why_down
from nodeproof.layers.gpu import jetpack
from nodeproof.layers.gpu.jetson import Jetson, JetsonData
from nodeproof.layers.gpu.settings import CLOCKS_UNIT, Settings
from nodeproof.layers.gpu.settings import Jetson as Asked
from nodeproof.repositories.proof import trusted_wrongly
from nodeproof.repositories.stack import is_version

PACKAGE = "${db:Status-Want} ${db:Status-Status} ${Version}"


@pytest.fixture(scope="module")
def accelerators(host: Host) -> Accelerators:
    """Return what the node has."""
    done = host.run("sh -c %s", Gpus().command())
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    return Gpus().process(done.stdout.splitlines())


@pytest.fixture(scope="module")
def asked(settings: Settings) -> Asked:
    """Return what is asked of a Jetson."""
    if settings.jetson is None:
        pytest.skip("nothing is asked of a Jetson")
    return settings.jetson


@pytest.fixture(scope="module")
def jetson(host: Host, asked: Asked) -> JetsonData:
    """Return what the Jetson is set to."""
    done = host.run("sh -c %s", Jetson().command())
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    return Jetson().process(done.stdout.splitlines())


@pytest.mark.control("NP-GPU-12")
def test_jetpack_is_the_one_asked_for(asked: Asked, accelerators: Accelerators) -> None:
    """Kernel, driver and CUDA come as one; what was built for another release does not run."""
    if asked.jetpack is None:
        pytest.skip("no JetPack is asked for")
    known = current().jetpacks
    assert asked.jetpack in known, f"JetPack {asked.jetpack} is not in the catalog: {[*known]}"
    assert accelerators.l4t, "this is no Jetson: /etc/nv_tegra_release says nothing"
    wanted = known[asked.jetpack].l4t
    assert accelerators.l4t == wanted, f"Jetson Linux is {accelerators.l4t}, not {wanted}"


@pytest.mark.control("NP-GPU-12")
def test_packages_of_jetpack(host: Host, asked: Asked, accelerators: Accelerators) -> None:
    """CUDA, cuDNN and TensorRT of another JetPack do not fit the driver in the image."""
    if asked.packages == "none":
        pytest.skip("no packages of JetPack are asked for")
    try:
        wanted = jetpack.stack(asked, jetpack.release(asked, accelerators.l4t, current())).wanted
    except UsageError as error:
        pytest.fail(error.message)
    for name, wish in wanted.items():
        said = host.run(f"dpkg-query -W -f '{PACKAGE}' -- %s", name).stdout.split()
        want, status, version = said if len(said) == 3 else ("", "none", "none")
        right = status == "installed" and is_version(version, wish)
        assert right, f"{name} is {version}, not {wish}"
        assert want == "hold", f"{name} is not on hold"


@pytest.mark.control("NP-GPU-12")
def test_jetson_repository_trusts_the_pinned_key_only(
    host: Host, settings: Settings, asked: Asked, accelerators: Accelerators
) -> None:
    """Whoever may sign packages is root on every node that installs them."""
    if asked.packages == "none":
        pytest.skip("no packages of JetPack are asked for")
    done = host.run("sh -c %s", jetpack.JetsonSources().command())
    sources = jetpack.JetsonSources().process(done.stdout.splitlines())
    try:
        wanted = jetpack.repository(settings, accelerators.l4t, sources, current())
    except UsageError as error:
        pytest.fail(error.message)
    wrong = trusted_wrongly(host, wanted)
    assert not wrong, wrong


@pytest.mark.control("NP-GPU-12")
def test_power_mode_as_asked(asked: Asked, jetson: JetsonData) -> None:
    """A mode decides how many cores run, and how fast; nodes of one kind must not differ in it."""
    if asked.power_mode is None:
        pytest.skip("no power mode is asked for")
    assert jetson.power_mode, "nvpmodel -q names no mode"
    assert jetson.power_mode == asked.power_mode, f"the power mode is {jetson.power_mode}"
    next_time = {None, jetson.modes.get(asked.power_mode)}
    assert jetson.saved in next_time, f"the next boot sets another mode, that of id {jetson.saved}"


@pytest.mark.control("NP-GPU-12")
def test_clocks_at_their_highest(asked: Asked, jetson: JetsonData) -> None:
    """Clocks that go up and down make a short job slow, and a measurement worthless."""
    if not asked.highest_clocks:
        pytest.skip("clocks may go up and down")
    assert "GPU" in jetson.clocks, "jetson_clocks --show names no clock of the GPU"
    assert not jetson.free, f"not at their highest: {', '.join(jetson.free)}; run jetson_clocks"


@pytest.mark.control("NP-GPU-12")
def test_clocks_held_at_boot(host: Host, asked: Asked) -> None:
    """What jetson_clocks sets is gone with the power."""
    if not asked.highest_clocks:
        pytest.skip("clocks may go up and down")
    wrong = why_down(host, CLOCKS_UNIT, now=True)
    assert not wrong, wrong
