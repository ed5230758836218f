"""The packages of a release, and where they come from; deed and proof use it."""

from __future__ import annotations

from nodeproof.catalog.model.stack import IntelRelease
from nodeproof.catalog.resolve.choice import StackChoice
from nodeproof.catalog.whole import Catalog
from nodeproof.layers.intel.settings import Settings
from nodeproof.repositories import vendor
from nodeproof.repositories.spec import AptRepository
from nodeproof.repositories.vendor import Mirror

SUPPLIES = {
    "intel": (
        *("intel-*", "libze*", "libigc*", "libigdfcl*", "libigdgmm*", "libigfxcmrt*", "libigsc*"),
        *("libmetee*", "libmfx*", "libva*", "libvpl*", "libxpum*", "xpu-smi"),
    ),
    "habana": ("habanalabs-*",),
}
"""What may come from the repositories: what the packages of a release need of their own."""


def packages(settings: Settings, release: IntelRelease) -> tuple[str, ...]:
    """Return the names of everything that is installed."""
    driver = release.driver if settings.driver == "dkms" else ()
    extras = (name for extra in settings.extras for name in release.extras.get(extra, ()))
    return tuple(dict.fromkeys((*driver, *release.packages, *extras)))


def repository(settings: Settings, chosen: StackChoice, catalog: Catalog) -> AptRepository | None:
    """Return the release's repository; None where no fingerprint of its key is known."""
    release = catalog.intel_releases[chosen.version]
    mirror = Mirror(settings.repository_uri, settings.repository_key, settings.repository_key_uri)
    name = "intel-gpu" if release.vendor == "intel" else "gaudi"
    supplies = SUPPLIES[release.vendor]
    return vendor.repository(
        name, chosen.place, catalog, supplies, mirror, architectures=("amd64",)
    )
