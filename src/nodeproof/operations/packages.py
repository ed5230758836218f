"""Manage packages through the distribution's package manager."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from fnmatch import fnmatchcase

from pyinfra import host
from pyinfra.api import OperationValueError, QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.catalog.distributions import PackageManager
from nodeproof.facts.journal import PROGRAM
from nodeproof.facts.offers import DnfOffers
from nodeproof.facts.packages import (
    PACKAGES,
    AptLastWords,
    AptPackages,
    AptTransaction,
    DnfTransaction,
    PackagesData,
    RpmMissing,
)
from nodeproof.operations import journal
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes
from nodeproof.repositories.transaction import Transaction, refusal, transaction
from nodeproof.scripts import script

LOCK_WAIT_S = 300
"""How long to wait for another package manager, e.g. one that an interrupted run left working."""

_OLD = (
    "not known yet: the package lists are old; after `apt-get update` on the node a plan says "
    "whether this replaces a version that no repository offers any more"
)
_REPOSITORY = "not known yet: the repository that has these versions is only added by this plan"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._]*(?:-+[A-Za-z0-9+._]+)*")
_PATTERN = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9+._*?-]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~-]*")
_APT_TRANSACTION, _APT_MEND = script("apt-transaction.sh"), script("apt-mend.sh")
_WITH_DNF, _DNF_TRANSACTION = script("with-dnf.sh"), script("dnf-transaction.py")
_BROKEN = "not known yet: packages are half installed; a plan says it when they are mended"
_LOCKED = re.compile(r"Could not get lock (\S+?)\. It is held by (process \d+(?: \([^)\n]*\))?)")
_GAVE_UP = re.compile(r"(?m)^E: (?:Could not get lock|Unable to acquire)")
_LOG = "/run/nodeproof/packages.log"
_APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends "
    f"-o DPkg::Lock::Timeout={LOCK_WAIT_S} "
    "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
)

_INSTALLED = (
    "dpkg-query -W -f '${db:Status-Status}\\n' -- \"$name\" | grep -qx installed || "
    '{ echo "there is no package $name to install" >&2; missing=1; }'
)


@operation()
def present(
    manager: PackageManager,
    packages: Sequence[str],
    where: str = "",
    brings: Sequence[str] = (),
) -> Generator[Change]:
    """
    Make packages be installed; with apt, mends what an interrupted run left half installed.

    + manager: the distribution's package manager, from the catalog
    + packages: their names; with dnf also of one build, such as kernel-devel-5.14.0-687.el9
    + where: with dnf, what to enable where no repository of the node's offers them
    + brings: with apt, paths that their scripts change and later operations, too

    **Example:**

    .. code:: python

        packages.present(name="Install chrony", manager="apt", packages=["chrony"])
    """

    if PackageManager(manager) is PackageManager.DNF:
        yield from _present_by_dnf(packages, where)
        return
    now: PackagesData = host.get_fact(AptPackages)
    if now.broken:
        yield _mended(PackageManager.APT)
    missing = sorted(set(packages) - now.installed.keys())
    if not missing:
        if not now.broken:
            host.noop("all packages are installed")
        return
    if not now.own_fresh:
        yield _logged(f"{_APT} update", counts=False)
    # A bare name that apt does not know is a pattern to it: linux-image-6.1 is a hundred packages.
    exact = (QuoteString(f"?exact-name({name})") for name in missing)
    names = (QuoteString(name) for name in missing)
    yield _logged(
        f"{_APT} install --",
        *exact,
        "&& { missing=; for name in",
        *names,
        f'; do {_INSTALLED}; done; [ -z "$missing" ]; }}',
        lasting=_lasting(now, missing),
        brings=brings,
    )


@operation()
def versions(
    manager: PackageManager,
    versions: Mapping[str, str],
    without: Sequence[str] = (),
    allow_downgrade: bool = False,
    hold: bool = True,
    brings: Sequence[str] = (),
    after: Sequence[OperationMeta] = (),
) -> Generator[Change]:
    """
    Make packages be installed at exact versions, all in one transaction, and stay so.

    What they need in exactly one version comes in that version, too, and is held with them. It is
    simulated first, and refused where it would remove, or set back, what is not named.

    + manager: the distribution's package manager, from the catalog
    + versions: names to versions, as the package manager writes them
    + without: names, or patterns with ``*``, of packages that go in the same transaction
    + allow_downgrade: whether a version may be older than the one that is installed
    + hold: nail them down, so that nobody but nodeproof changes them
    + brings: paths that their scripts make and later operations change: what these were before
    + after: operations that add the repositories; while these wait, nothing can be simulated

    **Example:**

    .. code:: python

        packages.versions(name="Install the driver", manager="apt",
                          versions={"nvidia-open": "580.178.04-1"}, without=["nvidia-open-5*"])
    """

    _well_formed(versions, without)
    manager = PackageManager(manager)
    apt = manager is PackageManager.APT
    now: PackagesData = host.get_fact(PACKAGES[manager])
    going = _matching(now, versions, without)
    wrong = {name for name, version in versions.items() if now.installed.get(name) != version}
    loose = sorted(versions.keys() - set(now.held)) if hold else []
    if not (wrong or going or loose or now.broken):
        host.noop("all packages have the version that was asked for")
        return
    if now.broken:
        yield _mended(manager)
    if wrong or going or now.broken:
        lasting = [_BROKEN] if now.broken else []
        if not now.broken:
            words = _words(versions, going)
            simulation = AptTransaction if apt else DnfTransaction
            found: Transaction = host.get_fact(simulation, words=",".join(words))
            why = refusal(found, versions, going, now.held, allow_downgrade)
            lasting = found.lost
            if why and _unknown(found, versions) and (any(map(changes, after))):
                lasting = [_REPOSITORY]
            elif why and apt and _unknown(found, versions) and not now.lists_fresh:
                yield _logged(f"{_APT} update", counts=False)
                lasting = [_OLD]
            elif why:
                raise OperationValueError(f"packages.versions: {why}")
        touches = [*map(journal.file, brings), Item(Kind.PACKAGES, manager)]
        change = (manager, versions, going, now.held, allow_downgrade, hold)
        yield _transaction(*change, lasting, touches)
    else:  # it only nails them down
        touches = [Item(Kind.PACKAGES, manager)]
        yield _transaction(manager, versions, [], now.held, allow_downgrade, hold, [], touches)


def _present_by_dnf(packages: Sequence[str], where: str) -> Generator[Change]:
    missing: tuple[str, ...] = host.get_fact(RpmMissing, names=",".join(packages))
    if not missing:
        host.noop("all packages are installed")
        return
    offers: dict[str, tuple[str, ...]] = host.get_fact(DnfOffers, names=",".join(missing))
    if unknown := [name for name in missing if name not in offers]:
        enable = where or "the repository that has it"
        raise OperationValueError(
            f"packages.present: no repository of the node's offers {', '.join(unknown)}; enable "
            f"{enable}, and apply again"
        )
    names = [QuoteString(name) for name in missing]
    yield _logged(
        "dnf -q -y --setopt=install_weak_deps=0 install --",
        *names,
        "&& rpm -q --",
        *names,
        manager=PackageManager.DNF,
    )


def _well_formed(versions: Mapping[str, str], without: Sequence[str]) -> None:
    """Refuse what apt would take for something else than a package and its version."""
    for name, version in versions.items():
        if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
            raise OperationValueError(
                f"packages.versions: {name}={version} is no package with a version"
            )
    for pattern in without:
        if not _PATTERN.fullmatch(pattern):
            raise OperationValueError(f"packages.versions: {pattern!r} names no package")


def _matching(now: PackagesData, versions: Mapping[str, str], without: Sequence[str]) -> list[str]:
    return sorted(
        name
        for name in now.installed
        if name not in versions and any(fnmatchcase(name, pattern) for pattern in without)
    )


def _words(versions: Mapping[str, str], going: Sequence[str]) -> list[str]:
    return [
        *(f"{name}={version}" for name, version in sorted(versions.items())),
        *(f"{name}-" for name in going),
    ]


def _unknown(found: Transaction, versions: Mapping[str, str]) -> bool:
    """Tell whether a version is not offered, which newer lists may mend."""
    return any(version not in found.offers.get(name, ()) for name, version in versions.items())


def _transaction(
    manager: PackageManager,
    versions: Mapping[str, str],
    going: Sequence[str],
    held: Sequence[str],
    allow_downgrade: bool,
    hold: bool,
    lasting: Sequence[str],
    touches: Sequence[Item],
) -> Change:
    allowed = (QuoteString("yes" if one else "no") for one in (allow_downgrade, hold))
    words = (QuoteString(word) for word in _words(versions, going))

    def explain(lines: Sequence[str]) -> str:
        return refusal(transaction(lines), versions, going, held, allow_downgrade)

    if manager is PackageManager.APT:
        return Change(
            *("sh", "-c", _APT_TRANSACTION, "sh", "make", *allowed),
            QuoteString(str(LOCK_WAIT_S)),
            *words,
            touches=touches,
            lasting=lasting,
            explain=explain,
        )
    return Change(
        *("sh", "-c", _WITH_DNF, "sh", _DNF_TRANSACTION, "make", *allowed, *words),
        touches=touches,
        lasting=lasting,
        explain=explain,
    )


def _mended(manager: PackageManager) -> Change:
    if manager is PackageManager.DNF:
        return Change(f"{PROGRAM} whole", touches=[Item(Kind.PACKAGES, manager)])
    return _logged("sh -c", _APT_MEND, "sh", QuoteString(str(LOCK_WAIT_S)))


def _lasting(now: PackagesData, missing: Sequence[str]) -> list[str]:
    """Return what revert could not bring back of what the installation replaces."""
    if now.broken:
        return [_BROKEN]
    if not now.own_fresh:
        return [_OLD]
    lost: dict[str, str] = host.get_fact(AptLastWords, names=" ".join(missing))
    return [
        f"{name} {version} would be replaced or removed, and no repository offers that version"
        for name, version in sorted(lost.items())
    ]


def _logged(
    *command: str | QuoteString,
    lasting: Sequence[str] = (),
    counts: bool = True,
    manager: PackageManager = PackageManager.APT,
    brings: Sequence[str] = (),
) -> Change:
    """Write output to a file: a package manager that loses its pipe dies half way."""
    return Change(
        "install -d -m 700 /run/nodeproof && {",
        *command,
        f"; }} >{_LOG} 2>&1 || {{ code=$?; tail -n 20 {_LOG} >&2; exit $code; }}",
        touches=[*map(journal.file, brings), Item(Kind.PACKAGES, manager)],
        lasting=lasting,
        counts=counts,
        explain=locked_out,
    )


def locked_out(said: Sequence[str]) -> str:
    """Return who held apt's lock for too long, of what apt said; nothing where nobody did."""
    text = "\n".join(said)
    found = _LOCKED.search(text)
    if found is None or _GAVE_UP.search(text) is None:
        return ""
    return (
        f"another package manager is at work: {found[2]} has held {found[1]} for {LOCK_WAIT_S} s; "
        "apply again when it is done"
    )
