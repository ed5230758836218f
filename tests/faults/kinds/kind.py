"""What a kind of fault is."""

from __future__ import annotations

from typing import ClassVar

from tests.faults.scene import Scene


class Kind:
    """A kind of fault. It strikes during an apply, which then ends with one of `codes`."""

    codes: ClassVar[tuple[int, ...]] = (0, 1)
    full: ClassVar[bool] = False
    """Whether it is also tried on the apply that installs the engines."""
    kernel: ClassVar[bool] = False
    """Whether it needs a kernel or disks of the machine's own."""
    lasts: ClassVar[bool] = False
    """Whether it is still there when the next apply is tried, which then may fail."""

    def strike(self, scene: Scene) -> None:
        """Wait for the moment and do it."""
        raise NotImplementedError

    def heal(self, scene: Scene) -> None:
        """Make it pass; called once the apply has ended."""
