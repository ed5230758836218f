"""A vendor's repository as the catalog chose it, or as a user mirrors it."""

from __future__ import annotations

from dataclasses import dataclass

from nodeproof.catalog.resolve.choice import Place
from nodeproof.catalog.whole import Catalog
from nodeproof.repositories.spec import AptRepository, SigningKey


@dataclass(frozen=True)
class Mirror:
    """What a user says of a repository; what is not said, the catalog knows."""

    uri: str | None = None
    key: str | None = None
    """Fingerprint of its key, where a mirror signs anew, or the catalog knows none."""
    key_uri: str | None = None
    beside: bool = False
    """Whether the key of a mirror is beside its lists, unless `key_uri` says otherwise."""


def repository(
    name: str,
    place: Place | None,
    catalog: Catalog,
    supplies: tuple[str, ...],
    mirror: Mirror,
    architectures: tuple[str, ...] = (),
) -> AptRepository | None:
    """Return a repository with the key that is pinned.

    None where no repository, or no fingerprint or address of its key, is known.
    """
    if place is None or (key := signing_key(place, catalog, mirror)) is None:
        return None
    entry = catalog.repositories[place.repository]
    return AptRepository(
        name=name,
        uris=(mirror.uri or entry.uri,),
        suites=(place.suite,) if place.suite else entry.suites,
        components=entry.components,
        architectures=architectures,
        supplies=supplies,
        key=key,
    )


def signing_key(place: Place, catalog: Catalog, mirror: Mirror) -> SigningKey | None:
    """Return the key that is pinned; None where nobody knows which that is, or its address."""
    entry = catalog.repositories[place.repository]
    key = catalog.keys.get(entry.key or "")
    fingerprint, digest = place.fingerprint, place.key_sha256
    if mirror.key and (mirror.uri or not (key and key.fingerprint)):
        fingerprint = mirror.key
    url = mirror.key_uri or (key.url if key else entry.key_url or "")
    if key and mirror.uri and mirror.beside and not mirror.key_uri:
        url = f"{mirror.uri}{key.url.rpartition('/')[2]}"
    if not (fingerprint or digest) or not url:
        return None
    left_out = key.sha256_without if key else ""
    beside = key.beside if key and fingerprint == key.fingerprint else ()
    pinned = (fingerprint, *beside) if fingerprint else ()
    return SigningKey(pinned, url=url, sha256=digest, sha256_without=left_out)
