"""pytest plugin for the layers' checks.

``pytest -p nodeproof.checks.plugin --pyargs nodeproof.layers --inventory INVENTORY``

Every check is a function of ``host`` (testinfra), ``settings`` (what was asked of the layer),
``node`` (facts), ``packages``, ``accelerators`` and ``distribution``, marked with the ids of the
controls that it proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.checks.backend import register
from nodeproof.checks.sessions import Open, Sessions
from nodeproof.errors import NodeproofError
from nodeproof.evidence.controls import chosen_standards, controls
from nodeproof.evidence.score import applies, serves
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PACKAGES, PackagesData
from nodeproof.layers import LAYER_NAMES, choose_layers
from nodeproof.settings import LayerSettings

CHECKS = ("checks.py", "*_checks.py")
SESSIONS = pytest.StashKey[Sessions]()
LAYERS = pytest.StashKey[tuple[str, ...]]()
STANDARDS = pytest.StashKey[tuple[str, ...]]()


@dataclass(frozen=True)
class Given:
    """Connections that are open already; the command line registers them as a plugin."""

    sessions: Sessions


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say which nodes and layers."""
    group = parser.getgroup("nodeproof")
    group.addoption("--inventory", metavar="INVENTORY", help="pyinfra inventory of the nodes")
    group.addoption("--limit", action="append", default=[], metavar="HOST", help="only these")
    group.addoption("--layer", action="append", default=[], metavar="LAYER", help="only these")
    group.addoption("--skip-layer", action="append", default=[], metavar="LAYER", help="not these")
    group.addoption(
        "--standard", action="append", default=[], metavar="STANDARD", help="only what serves it"
    )
    group.addoption(
        "--burn-in", type=int, default=0, metavar="SECONDS", help="burn in GPUs, this long a part"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Connect to the nodes and tell testinfra about them."""
    for name in CHECKS:
        config.addinivalue_line("python_files", name)
    config.addinivalue_line("markers", "control(*ids): ids of the controls that a check proves")
    plugins = config.pluginmanager.get_plugins()
    given = next((one.sessions for one in plugins if isinstance(one, Given)), None)
    try:
        config.stash[LAYERS] = _layers(config)
        config.stash[STANDARDS] = chosen_standards(_option(config, "--standard"))
        config.stash[SESSIONS] = sessions = given or _connected(config)
    except NodeproofError as error:
        raise pytest.UsageError(error.message) from error
    config.option.hosts = register(sessions)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connections."""
    if (sessions := config.stash.get(SESSIONS, None)) is not None:
        sessions.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out layers that a node was not asked to have; insist on controls."""
    known = controls()
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        ids = control_ids(item)
        if not ids or any(control not in known for control in ids):
            raise pytest.UsageError(f"{item.nodeid}: names no known control: {', '.join(ids)}")
        (kept if _wanted(item, config) else left_out).append(item)
    order = {name: position for position, name in enumerate(LAYER_NAMES)}
    kept.sort(key=lambda item: (node_name(item), order[_layer(item)]))
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


def control_ids(item: pytest.Item) -> list[str]:
    """Return the ids of the controls that a check proves."""
    return [str(control) for mark in item.iter_markers("control") for control in mark.args]


def layer_of(module: str) -> str:
    """Return the layer that a checks module belongs to."""
    return module.split(".")[-2]


def node_name(item: pytest.Item) -> str:
    """Return the node that a check runs on."""
    host = item.callspec.params["_testinfra_host"]  # type: ignore[attr-defined]
    return str(host.backend.hostname)


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest, _testinfra_host: object) -> Open:
    """Return the connected node; a node that cannot be reached fails here."""
    name: str = _testinfra_host.backend.hostname  # type: ignore[attr-defined]
    return request.config.stash[SESSIONS].get(name)


@pytest.fixture(scope="module")
def settings(request: pytest.FixtureRequest, opened: Open) -> LayerSettings:
    """Return what was asked of the layer whose checks these are."""
    return opened.settings.layers[layer_of(request.module.__name__)]


@pytest.fixture(scope="module")
def node(opened: Open) -> NodeFacts:
    """Return what the machine is."""
    return opened.facts


@pytest.fixture(scope="module")
def distribution(opened: Open) -> Distribution:
    """Return the distribution's row of the catalog."""
    return opened.distribution


@pytest.fixture(scope="module")
def packages(host: Host, distribution: Distribution) -> PackagesData:
    """Return what dpkg or rpm knows."""
    fact = PACKAGES[distribution.package_manager]()
    return fact.process(host.check_output(fact.command()).splitlines())


@pytest.fixture(scope="module")
def accelerators(host: Host) -> Accelerators:
    """Return what the node computes with."""
    return Gpus().process(host.check_output("sh -c %s", Gpus().command()).splitlines())


@pytest.fixture(scope="module")
def running(settings: LayerSettings) -> LayerSettings:
    """Return what is asked of a node that has the accelerators itself."""
    if getattr(settings, "image", None) is not None:
        pytest.skip("the node becomes an image for other machines; it has none of their GPUs")
    return settings


@pytest.fixture(scope="session")
def burn_in(request: pytest.FixtureRequest) -> int:
    """Return how many seconds a part of the burn-in takes, where one is asked for."""
    seconds: int = request.config.getoption("--burn-in")
    if seconds <= 0:
        pytest.skip("it needs the GPUs for itself, for minutes; ask for it with --burn-in")
    return seconds


def _layer(item: pytest.Item) -> str:
    return layer_of(item.module.__name__)  # type: ignore[attr-defined]


def _wanted(item: pytest.Item, config: pytest.Config) -> bool:
    layer, name, sessions = _layer(item), node_name(item), config.stash[SESSIONS]
    asked = sessions.fleet.settings[name].layers
    if layer not in asked or layer not in config.stash[LAYERS]:
        return False
    standards = config.stash[STANDARDS]
    if not standards or name not in sessions.open:
        return True
    facts = sessions.open[name].facts
    here = [one for one in standards if applies(one, facts.os_id, facts.os_version)]
    return serves(control_ids(item), here)


def _layers(config: pytest.Config) -> tuple[str, ...]:
    return choose_layers(_option(config, "--layer"), _option(config, "--skip-layer"))


def _option(config: pytest.Config, name: str) -> Sequence[str]:
    values: list[str] = config.getoption(name)
    return values


def _connected(config: pytest.Config) -> Sessions:
    from nodeproof.cli.password import Password
    from nodeproof.engine.adapter.inventory import load

    inventory = config.getoption("--inventory")
    if not inventory:
        raise pytest.UsageError("--inventory INVENTORY says which nodes to check")
    fleet = load(inventory, limit=_option(config, "--limit"))
    layers = config.stash[LAYERS]
    sessions = Sessions(fleet, Password(), layers)
    sessions.connect()
    return sessions
