"""Bring newer entries: read a bundle, prove it, show what it changes, keep it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from nodeproof.catalog.check import problems
from nodeproof.catalog.overlay import current, own_folder
from nodeproof.catalog.whole import SUBJECTS, Catalog
from nodeproof.errors import NodeproofError, RefusedError, UsageError

LARGEST = 4 * 1024 * 1024
"""Bytes; the whole catalog has fewer than a hundred thousand."""
TIMEOUT_S = 30
NAMESPACE = "nodeproof-catalog"
"""What signatures are made for (`ssh-keygen -Y sign -n nodeproof-catalog`); see ssh-keygen(1)."""


@dataclass(frozen=True)
class Signature:
    """A signature as ssh-keygen makes it, and who may have made it."""

    file: str
    signers: str
    """A file of allowed signers; see ssh-keygen(1)."""
    identity: str


def read(source: str) -> bytes:
    """Return the content of a file or URL; raises NodeproofError where it cannot be read."""
    try:
        if source.startswith(("http://", "https://")):
            request = urllib.request.Request(source, headers={"User-Agent": "nodeproof"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                content: bytes = answer.read(LARGEST + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(LARGEST + 1)
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise NodeproofError(f"{source}: cannot be read: {error}") from error
    if len(content) > LARGEST:
        raise RefusedError(f"{source}: has more than {LARGEST} bytes, which no bundle has")
    return content


def prove(content: bytes, *, sha256: str | None, signature: Signature | None) -> str:
    """Return how a bundle is proven; raises RefusedError where it is not what was promised.

    Raises UsageError where nothing was promised: an update is never taken on trust.
    """
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is None and signature is None:
        raise UsageError(
            "catalog update: neither --sha256 nor --signature is given",
            hint=f"what was read has the sha256 {digest}; compare it with what its maker says",
        )
    if sha256 is not None and sha256.lower() != digest:
        raise RefusedError(f"catalog update: has the sha256 {digest}, not {sha256.lower()}")
    if signature is not None:
        _verify(content, signature)
        return f"signed by {signature.identity}, sha256 {digest}"
    return f"sha256 {digest}"


def _verify(content: bytes, signature: Signature) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "signature"
        made.write_bytes(read(signature.file))
        command = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", signature.identity]
        command += ["-f", signature.signers, "-s", str(made)]
        try:
            done = subprocess.run(  # noqa: S603
                command, input=content, capture_output=True, check=False, timeout=TIMEOUT_S
            )
        except FileNotFoundError as error:
            raise NodeproofError(
                "catalog update: ssh-keygen is not here", hint="install openssh-client"
            ) from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
        raise RefusedError(f"catalog update: the signature does not hold: {said}")


def laid_over(text: str, today: date) -> Catalog:
    """Return the catalog with a bundle; raises RefusedError where it would contradict itself."""
    catalog = current(text)
    if found := problems(catalog, today):
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise RefusedError(f"catalog update: {found[0]}{more}", hint="nothing was changed")
    return catalog


def changes(before: Catalog, after: Catalog) -> Iterator[str]:
    """Yield the lines of a difference, entry by entry."""
    for subject in SUBJECTS:
        old, new = getattr(before, subject), getattr(after, subject)
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                yield f"{subject}.{name}"
                yield from _lines(old.get(name), new.get(name))


def _lines(before: object, after: object) -> Iterator[str]:
    old, new = _text(before).splitlines(), _text(after).splitlines()
    for line in difflib.unified_diff(old, new, lineterm="", n=1):
        if not line.startswith(("---", "+++", "@@")):
            yield f"  {line}"


def _text(entry: object) -> str:
    shown = getattr(entry, "model_dump", dict)
    return json.dumps(shown(mode="json"), indent=1) if entry is not None else ""


def keep(content: bytes) -> Path:
    """Write a bundle into the user's folder, in one step; return its path.

    The name has the time in front: bundles are laid over the catalog in the order of their names.
    """
    folder = own_folder()
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{digest[:12]}.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(scratch).replace(path)
    except OSError as error:
        raise NodeproofError(f"{folder}: cannot be written: {error}") from error
    return path
