"""What the containers layer alone needs to know of a node."""

from __future__ import annotations

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.layers.containers.settings import PROBE_IMAGE

LABEL, RECIPE = "org.nodeproof.probe", "1"
"""The image's label, and how images are made now; a change of the recipe makes a new image."""


class ProbeImage(FactBase[bool]):
    """
    Whether an engine has the image that checks run.

    .. code:: python

        True
    """

    default = bool
    called = "the probe image of {engine}"

    @override
    def command(self, engine: str) -> StringCommand:
        """Return a script that prints the image's label, if there is an engine and an image."""
        script = (
            'command -v "$1" >/dev/null || exit 0; '
            f'"$1" image inspect --format \'{{{{index .Config.Labels "{LABEL}"}}}}\' '
            f"{PROBE_IMAGE} 2>/dev/null || true"
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(engine))

    @override
    def process(self, output: list[str]) -> bool:
        """Compare the label; podman prints an empty list besides where there is no image."""
        return output == [RECIPE]


class LiveRestore(FactBase[bool | None]):
    """
    Whether the running Docker daemon lets containers go on without it; None where none runs.

    .. code:: python

        True
    """

    called = "live restore of Docker"

    @override
    def command(self) -> str:
        """Return a command that asks the daemon."""
        return "docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> bool | None:
        """Parse Go's booleans."""
        return {"true": True, "false": False}.get(output[0]) if output else None
