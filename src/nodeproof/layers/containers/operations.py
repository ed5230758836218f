"""What only the containers layer does to a node."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import QuoteString, operation

from nodeproof.layers.containers.facts import LABEL, RECIPE, LiveRestore, ProbeImage
from nodeproof.layers.containers.settings import PROBE_IMAGE
from nodeproof.operations.journal import Change, Item, Kind

RELOAD_S = 30

# The node's own shell with its libraries is an image: nothing is installed, no registry is asked.
_BUILD = f"""
t=$(mktemp) || exit 1
trap 'rm -f -- "$t"' EXIT
old=$("$1" image inspect --format '{{{{.Id}}}}' {PROBE_IMAGE} 2>/dev/null)
tar -C / -chf "$t" bin/sh $(ldd /bin/sh | grep -o '/[^ ]*' | cut -c 2-) &&
"$1" import --change 'LABEL {LABEL}={RECIPE}' "$t" {PROBE_IMAGE} || exit 1
[ -z "$old" ] || "$1" image rm -- "$old" >/dev/null 2>&1 || true
"""

_RELOAD = f"""
systemctl reload -- "$1" || exit 1
for _ in $(seq {RELOAD_S}); do
  [ "$(docker info --format '{{{{.LiveRestoreEnabled}}}}')" = true ] && exit 0
  sleep 1
done
echo "Docker did not take up live-restore within {RELOAD_S} s" >&2
exit 1
"""


@operation()
def probe_image(engine: str) -> Generator[Change]:
    """
    Make an engine have the image that checks run, made of the node's own shell.

    + engine: podman or docker

    **Example:**

    .. code:: python

        operations.probe_image(name="Make Podman's probe image", engine="podman")
    """

    if host.get_fact(ProbeImage, engine=engine):
        host.noop("the image is there")
        return
    yield Change(
        "sh", "-c", QuoteString(_BUILD), "sh", QuoteString(engine), touches=[_image(engine)]
    )


@operation()
def live_restore(unit: str) -> Generator[Change]:
    """
    Make the running Docker daemon let containers go on, before anything restarts it.

    Its settings file already says so; unlike others this setting is taken up by a reload.

    + unit: Docker's unit

    **Example:**

    .. code:: python

        operations.live_restore(name="Keep containers running", unit="docker.service")
    """

    if host.get_fact(LiveRestore):
        host.noop("containers go on while the daemon restarts")
        return
    yield Change(
        *("sh", "-c", QuoteString(_RELOAD), "sh", QuoteString(unit)),
        touches=[Item(Kind.TOLD, unit)],
    )


def _image(engine: str) -> Item:
    probe = f"{engine} image inspect --format '{{{{.Id}}}}' {PROBE_IMAGE}"
    undo = f"{engine} image rm --force {PROBE_IMAGE}"
    return Item(Kind.CUSTOM, f"image {PROBE_IMAGE} of {engine}\t{probe}\t{undo}")
