"""Whom a package manager trusts for a repository, and what it holds, as the node has it."""

from __future__ import annotations

from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution, PackageManager
from nodeproof.facts.packages import PackagesData
from nodeproof.repositories import keys
from nodeproof.repositories.openpgp import certificates
from nodeproof.repositories.spec import AptRepository, DnfRepository, SigningKey
from nodeproof.scripts import text

TRUST = ("Signed-By", "Trusted", "Allow-Insecure", "Allow-Weak", "Allow-Downgrade-To-Insecure")
"""What in a source says whom apt trusts; see sources.list(5)."""


def held(host: Host, distribution: Distribution, packages: PackagesData) -> set[str]:
    """Return the names of packages that no update changes, as the package manager says itself."""
    if distribution.package_manager is PackageManager.APT:
        return set(host.check_output("apt-mark showhold").split())
    # Without the plugin there is no such command, and whatever its file says nothing is held.
    locks = {
        line.strip().removesuffix(".*")
        for line in host.check_output("dnf -q --disablerepo='*' versionlock list").splitlines()
    }
    return {
        name
        for name, version in packages.installed.items()
        if f"{name}-{version if ':' in version else f'0:{version}'}" in locks
    }


def trusted_wrongly(host: Host, asked: AptRepository | DnfRepository) -> str:
    """Return why others than the pinned keys could sign what comes from there, or nothing."""
    if isinstance(asked, DnfRepository):
        return _by_dnf(host, asked)
    return _by_apt(host, asked)


def _by_apt(host: Host, asked: AptRepository) -> str:
    uri = asked.uris[0]
    ours = _targets(host, uri)
    named = {entry.rpartition(":")[0] for entry, _ in ours}
    if named != {asked.sources}:
        return f"{uri} is named in {sorted(named) or 'no file'}"
    if {trusted for _, trusted in ours} != {"yes"}:
        return f"apt has not proven the lists of {uri}"
    options = [line.partition(":") for line in host.file(asked.sources).content_string.splitlines()]
    trust = {name: value.strip() for name, _, value in options if name in TRUST}
    if trust != {"Signed-By": asked.keyring}:
        return f"{uri} is trusted by {trust or 'every key'}"
    return _not_pinned(asked.keyring, host.file(asked.keyring).content, asked.key)


def _by_dnf(host: Host, asked: DnfRepository) -> str:
    uri = asked.uris[0].rstrip("/")
    listed = host.check_output("sh -c %s sh %s", text("with-dnf.sh"), text("dnf-repositories.py"))
    rows = [line.split("|") for line in listed.splitlines()]
    ours = [row for row in rows if row[0].rstrip("/") == uri]
    named = {row[1] for row in ours}
    if named != {asked.file}:
        return f"{uri} is named in {sorted(named) or 'no file'}"
    if any(row[2:4] != ["1", str(int(asked.lists_signed))] for row in ours):
        return f"dnf does not ask for all signatures of {uri}"
    trust = {key for row in ours for key in row[4].split()}
    if trust != {f"file://{asked.keyring}"}:
        return f"{uri} is trusted by {sorted(trust) or 'every key'}"
    return _not_pinned(asked.keyring, host.file(asked.keyring).content, asked.key)


def _not_pinned(path: str, content: bytes, key: SigningKey) -> str:
    """Return what a keyring has, where that is not what was pinned."""
    if not key.fingerprints:
        digest = keys.digest(content, key)
        return "" if digest == key.sha256 else f"{path} has the digest {digest}"
    prints = {one.fingerprint for one in certificates(content)}
    pinned = prints and prints <= {*key.fingerprints}
    return "" if pinned else f"{path} has {', '.join(sorted(prints)) or 'no key'}"


def _targets(host: Host, uri: str) -> set[tuple[str, str]]:
    """Return what apt knows of a repository: which line names it, and whether it is proven."""
    listed = host.check_output(
        "apt-get indextargets --format '$(REPO_URI)|$(SOURCESENTRY)|$(TRUSTED)' 'Target-Of: deb'"
    )
    rows = [line.split("|") for line in listed.splitlines()]
    return {(row[1], row[2]) for row in rows if row[0].rstrip("/") == uri.rstrip("/")}
