"""A repository for dnf in a folder, built on a node that has rpmbuild, and ways to break it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.repositories.node import Site
from tests.repositories.rpm import Source, modules
from tests.repositories.signing import Key, secret

WORK = "/srv/vendor"
BUILD = f"""
set -eu
cd {WORK}
for spec in specs/*.spec; do
    rpmbuild -bb --quiet --define "_topdir {WORK}/build" --define "_rpmdir {WORK}/repo" \\
        --define '__os_install_post %{{nil}}' "$spec" 2>/dev/null
done
for key in good other; do
    export GNUPGHOME={WORK}/gpg-$key
    mkdir -m 700 "$GNUPGHOME"
    gpg --batch --quiet --import "$key.asc"
    id=$(gpg --list-keys --with-colons | sed -n 's/^fpr:*\\([0-9A-F]*\\):/\\1/p' | head -n 1)
    case $key in
        good) rpmsign --define "_gpg_name $id" --addsign repo/*/*.rpm >/dev/null ;;
        other)
            cp -a repo alien
            set -- alien/noarch/libnvidia-nscq-*.rpm
            [ ! -e "$1" ] || rpmsign --define "_gpg_name $id" --resign "$@" >/dev/null
            ;;
    esac
    gpgconf --kill all
done
for tree in repo alien; do
    createrepo_c --quiet $tree
    [ ! -e modules.yaml ] || modifyrepo_c --mdtype=modules modules.yaml $tree/repodata >/dev/null
done
"""


@dataclass
class RpmFolder:
    """What a vendor puts on a server; `whole` and `alien` are what was built."""

    path: Path
    key: Key
    other: Key
    whole: Path
    alien: Path
    key_file: str = "vendor.pub"

    def publish(self, *, signed_by: Key | None = None, alien: bool = False) -> None:
        """Serve everything anew; `alien` with one package that somebody else has signed."""
        if self.path.exists():
            shutil.rmtree(self.path)
        shutil.copytree(self.alien if alien else self.whole, self.path)
        (self.path / self.key_file).write_text(self.key.public)
        lists = self.path / "repodata" / "repomd.xml"
        lists.with_name("repomd.xml.asc").write_text(
            (signed_by or self.key).detached(lists.read_text())
        )

    def change_lists(self) -> None:
        """Change what was signed."""
        path = self.path / "repodata" / "repomd.xml"
        path.write_text(path.read_text().replace("<revision>", "<revision>1"))

    def change_index(self) -> None:
        """Change the list of packages behind the back of the signed list."""
        (path,) = (self.path / "repodata").glob("*-primary.xml*")
        path.write_bytes(path.read_bytes() + b"\0")

    def unsign(self) -> None:
        """Take the signature away."""
        (self.path / "repodata" / "repomd.xml.asc").unlink()

    def package(self, name: str, evr: str) -> Path:
        """Return the file of a package."""
        return self.path / "noarch" / f"{name}-{evr.rpartition(':')[2]}.noarch.rpm"

    def change_package(self, name: str, evr: str) -> None:
        """Change a package behind the back of the list."""
        path = self.package(name, evr)
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data)


def build(
    site: Site, path: Path, sources: Sequence[Source], good: Key, other: Key, *, streams: bool
) -> RpmFolder:
    """Build and sign packages on the node, and serve them below `path`."""
    there = site.node.root / WORK.lstrip("/")
    (there / "specs").mkdir(parents=True)
    for number, source in enumerate(sources):
        (there / "specs" / f"{number}.spec").write_text(source.spec())
    if streams:
        drivers = [source for source in sources if source.epoch == "3"]
        (there / "modules.yaml").write_text(modules(drivers))
    for name, key in (("good", good), ("other", other)):
        (there / f"{name}.asc").write_text(secret(key))
    site.sh(BUILD)
    kept = {}
    for tree in ("repo", "alien"):
        kept[tree] = path.parent / f"{path.name}-{tree}"
        shutil.copytree(there / tree, kept[tree])
    shutil.rmtree(there)
    return RpmFolder(path, good, other, kept["repo"], kept["alien"])
