"""Manage packages of one maker that belong together, in the versions that its repository has."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from pyinfra import host
from pyinfra.api import FileUploadCommand, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import PackageManager
from nodeproof.facts.dkms import DkmsData, DkmsModules
from nodeproof.facts.needed import together
from nodeproof.facts.offers import OFFERS, Offer, Offers
from nodeproof.facts.packages import PACKAGES, AptPackages, PackagesData
from nodeproof.operations import packages, update_guard
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes
from nodeproof.repositories.stack import NEWEST, Stack, exact, is_version
from nodeproof.updates.guard import Guard, built

_NOTHING = Stack()
_LOG = "/run/nodeproof/packages.log"
_BY_APT = "apt-get -q -o DPkg::Lock::Timeout=300 update"
_BY_DNF = "dnf -q -y makecache --refresh"


@operation()
def lists(
    manager: PackageManager, stack: Stack, after: Sequence[OperationMeta] = ()
) -> Generator[Change]:
    """
    Fetch package lists anew where they are old and do not have what is asked for.

    + manager: the distribution's package manager, from the catalog
    + stack: what will be installed
    + after: operations that add the repository, and with it fetch its lists

    **Example:**

    .. code:: python

        stacks.lists(name="Fetch newer package lists", manager="apt", stack=stack, after=[added])
    """

    now: PackagesData = host.get_fact(PACKAGES[manager])
    offers: dict[str, tuple[str, ...]] = host.get_fact(OFFERS[manager], names=",".join(stack.names))
    known = {
        name: [*offers.get(name, ()), *filter(None, [now.installed.get(name)])]
        for name in stack.wanted
    }
    missing = [
        name
        for name, wish in stack.wanted.items()
        if not any(is_version(one, wish) for one in known[name])
    ]
    if not missing or now.lists_fresh or any(map(changes, after)):
        host.noop("package lists have what is asked for, or are new")
        return
    yield Change(
        "install -d -m 700 /run/nodeproof &&",
        _BY_DNF if manager == PackageManager.DNF else _BY_APT,
        f">{_LOG} 2>&1 || {{ tail -n 20 {_LOG} >&2; exit 1; }}",
        touches=[Item(Kind.PACKAGES, manager)],
        counts=False,
    )


@operation()
def installed(
    manager: PackageManager,
    stack: Stack,
    replace: bool = False,
    brings: Sequence[str] = (),
    after: Sequence[OperationMeta] = (),
) -> Generator[Change]:
    """
    Make packages that belong together be installed, in one transaction, and held.

    + manager: the distribution's package manager, from the catalog
    + stack: packages with the versions that their makers count
    + replace: whether an older version may take the place of a newer one
    + brings: paths that their scripts make and later operations change
    + after: operations that add the repository, or fetch its lists

    **Example:**

    .. code:: python

        stacks.installed(name="Install the driver", manager="apt", stack=stack, after=[added])
    """

    now: PackagesData = host.get_fact(PACKAGES[manager])
    offers: dict[str, tuple[str, ...]] = host.get_fact(OFFERS[manager], names=",".join(stack.names))
    yield from packages.versions._inner(
        manager=manager,
        versions=exact(stack, now.installed, offers),
        without=stack.without,
        allow_downgrade=replace,
        brings=brings,
        after=after,
    )


@operation()
def supplied(
    wanted: Mapping[str, str],
    version: str = "",
    without: Sequence[str] = (),
    downgrade: bool = False,
    after: Sequence[OperationMeta] = (),
) -> Generator[Change]:
    """
    Make packages be installed as certain repositories have them, in one transaction, and held.

    For what a distribution has under the same names, too; with apt only.

    + wanted: names of packages to the address of the repository that each comes from
    + version: the one that all of them have; empty: what each repository has
    + without: names, or patterns with ``*``, of packages that go in the same transaction
    + downgrade: whether an older version may take the place of a newer one
    + after: operations that add the repositories

    **Example:**

    .. code:: python

        stacks.supplied(name="Install ROCm", after=[added],
                        wanted={"amdrocm7.14": "https://mirror.example/rocm/debian13"})
    """

    now: PackagesData = host.get_fact(AptPackages)
    offers: dict[str, tuple[Offer, ...]] = host.get_fact(Offers, names=",".join(sorted(wanted)))
    yield from packages.versions._inner(
        manager=PackageManager.APT,
        versions=as_supplied(wanted, now.installed, offers, version),
        without=without,
        allow_downgrade=downgrade,
        after=after,
    )


@operation()
def guarded(
    manager: PackageManager,
    guard: str,
    stack: Stack = _NOTHING,
    supplied: Mapping[str, str] = MappingProxyType({}),
    version: str = "",
    modules: Sequence[str] = (),
) -> Generator[FileUploadCommand | Change]:
    """
    Make no update pull apart what `installed` or `supplied` installed; call it after them.

    + manager: the distribution's package manager, from the catalog
    + guard: the name of the guarded set, e.g. gpu
    + stack: what was installed by `installed`
    + supplied: what was installed by `supplied`, with the address of each repository
    + version: the one that all of these have; empty: what each repository has
    + modules: what DKMS builds of it, by the names that DKMS has

    **Example:**

    .. code:: python

        stacks.guarded(name="Guard the driver", manager="apt", guard="gpu", stack=stack,
                       modules=["nvidia"])
    """

    names = ",".join(sorted({*stack.names, *supplied}))
    now: PackagesData
    dkms: DkmsData
    now, dkms, offers, places = together(
        partial(host.get_fact, PACKAGES[manager]),
        partial(host.get_fact, DkmsModules) if modules else DkmsData,
        partial(host.get_fact, OFFERS[manager], names=names) if stack.names else dict,
        partial(host.get_fact, Offers, names=names) if supplied else dict,
    )
    found = exact(stack, now.installed, offers)
    found |= as_supplied(supplied, now.installed, places, version)
    told = [(one.module, one.version, one.state) for one in dkms.modules]
    yield from update_guard.guarded._inner(
        manager=manager, guard=Guard(guard, found, built(told, modules))
    )


def as_supplied(
    wanted: Mapping[str, str],
    installed: Mapping[str, str],
    offers: Mapping[str, Sequence[Offer]],
    version: str = "",
) -> dict[str, str]:
    """Return package to version: what is installed where its repository has it, else the newest."""
    found = {}
    for name, uri in wanted.items():
        here = [
            one.version
            for one in offers.get(name, ())
            if one.uri == uri.rstrip("/") and is_version(one.version, version)
        ]
        there = installed.get(name, "")
        found[name] = there if there in here else next(iter(here), version or there or NEWEST)
    return found
