"""The kinds of faults, each with its moment, its deed, and how it passes."""

from __future__ import annotations

from tests.faults.kinds import controller, disk, machine, software
from tests.faults.kinds.kind import Kind


def name_of(kind: type[Kind]) -> str:
    """Return a kind's name: network_cut."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("_")


# A seed's campaign depends on this order: a new kind goes to the end.
KINDS: dict[str, type[Kind]] = {
    name_of(kind): kind
    for kind in (
        controller.ControllerKilledAtChange,
        machine.PowerReset,
        controller.SessionKilled,
        controller.JournalKilled,
        disk.DiskFullVar,
        controller.ControllerKilledAtTime,
        machine.PowerResetWhileArmed,
        machine.NetworkCut,
        software.DpkgLockHeld,
        disk.DiskFullRoot,
        disk.ReadonlyRemount,
        software.DownloadFails,
        machine.ClockJump,
        software.SshdStopped,
        software.OomKill,
        software.ResolverBroken,
        software.UserEdits,
        disk.InodesGone,
        machine.PowerResetByPackages,
        controller.RootShellKilled,
        controller.ControllerInterrupted,
        machine.NetworkCutShort,
        disk.DiskFullTmp,
        disk.DiskFullRun,
        machine.Reboot,
        software.SshdRestarted,
        software.PackageManagerKilled,
        controller.TwoControllers,
        machine.MachinePaused,
        controller.ControllerFrozen,
    )
}
