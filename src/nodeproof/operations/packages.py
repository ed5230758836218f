"""Manage packages through the distribution's package manager."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import OperationValueError, QuoteString, operation

from nodeproof.catalog.distributions import PackageManager
from nodeproof.facts.packages import AptLastWords, AptPackages, PackagesData
from nodeproof.operations.journal import Change, Item, Kind

LOCK_WAIT_S = 300
"""How long to wait for another package manager, e.g. one that an interrupted run left working."""

_OLD = (
    "not known yet: the package lists are old; after `apt-get update` on the node a plan says "
    "whether this replaces a version that no repository offers any more"
)
_BROKEN = "not known yet: packages are half installed; a plan says it when they are mended"
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
def present(manager: PackageManager, packages: Sequence[str]) -> Generator[Change]:
    """
    Make packages be installed; mends what an interrupted run left half installed.

    + manager: the distribution's package manager, from the catalog
    + packages: their names

    **Example:**

    .. code:: python

        packages.present(name="Install chrony", manager="apt", packages=["chrony"])
    """

    if manager != PackageManager.APT:
        raise OperationValueError(f"packages.present: {manager} is not supported")
    now: PackagesData = host.get_fact(AptPackages)
    if now.broken:
        # `check` waits for the lock, which dpkg itself does not.
        yield _logged(
            f"{_APT} check; DEBIAN_FRONTEND=noninteractive dpkg --force-confdef "
            f"--force-confold --configure -a && {_APT} -f install"
        )
    missing = sorted(set(packages) - now.installed.keys())
    if not missing:
        if not now.broken:
            host.noop("all packages are installed")
        return
    if not now.lists_fresh:
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
    )


def _lasting(now: PackagesData, missing: Sequence[str]) -> list[str]:
    """Return what revert could not bring back of what the installation replaces."""
    if now.broken:
        return [_BROKEN]
    if not now.lists_fresh:
        return [_OLD]
    lost: dict[str, str] = host.get_fact(AptLastWords, names=" ".join(missing))
    return [
        f"{name} {version} would be replaced or removed, and no repository offers that version"
        for name, version in sorted(lost.items())
    ]


def _logged(
    *command: str | QuoteString, lasting: Sequence[str] = (), counts: bool = True
) -> Change:
    """Write output to a file: a package manager that loses its pipe dies half way."""
    return Change(
        "install -d -m 700 /run/nodeproof && {",
        *command,
        f"; }} >{_LOG} 2>&1 || {{ code=$?; tail -n 20 {_LOG} >&2; exit $code; }}",
        touches=[Item(Kind.PACKAGES, PackageManager.APT)],
        lasting=lasting,
        counts=counts,
    )
