"""What only the containers layer does to a node."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationError, QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof import merging
from nodeproof.facts.files import FileState, FileStateData
from nodeproof.facts.packages import AptPackages, PackagesData
from nodeproof.facts.systemd import Unit, UnitData
from nodeproof.layers.containers import configuration
from nodeproof.layers.containers.facts import (
    AMD_REFRESH,
    LABEL,
    OUR_REFRESH,
    RECIPE,
    REFRESH,
    AmdCtk,
    AmdCtkData,
    ContainerdMajor,
    LiveRestore,
    NvidiaCtk,
    NvidiaCtkData,
    ProbeImage,
)
from nodeproof.layers.containers.settings import (
    AMD_CDI,
    AMD_PACKAGE,
    CONTAINERD_CONF,
    NVIDIA_CDI,
    NVIDIA_CTK,
    PROBE_IMAGE,
    Settings,
)
from nodeproof.operations import files, journal, merged, systemd
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes
from nodeproof.repositories.stack import Stack, is_version

RELOAD_S = 30

# The node's own shell with its libraries is an image: nothing is installed, no registry is asked.
# Engines do not write layers through: an image that loses its power has a name and cannot be
# mounted any more. So it gets its name when all of it is on the disk.
_BUILD = f"""
t=$(mktemp) || exit 1
trap 'rm -f -- "$t"' EXIT
old=$("$1" image inspect --format '{{{{.Id}}}}' {PROBE_IMAGE} 2>/dev/null)
tar -C / -chf "$t" bin/sh $(ldd /bin/sh | grep -o '/[^ ]*' | cut -c 2-) &&
new=$("$1" import --change 'LABEL {LABEL}={RECIPE}' "$t") &&
case $1 in
  podman) at=$(podman info --format '{{{{.Store.GraphRoot}}}}') ;;
  *) at=$("$1" info --format '{{{{.DockerRootDir}}}}') ;;
esac &&
sync -f -- "$at" &&
"$1" tag "$new" {PROBE_IMAGE} || exit 1
[ -z "$old" ] || "$1" image rm -- "$old" >/dev/null 2>&1 || true
"""

_RELOAD = f"""
for _ in $(seq {RELOAD_S}); do
  [ "$(docker info --format '{{{{.LiveRestoreEnabled}}}}')" = true ] && exit 0
  sleep 1
done
echo "Docker did not take up live-restore within {RELOAD_S} s" >&2
exit 1
"""


DEV_CHAR_RULE = "/etc/udev/rules.d/71-nvidia-dev-char.rules"
AMD_RULE = "/etc/udev/rules.d/71-nodeproof-amd-cdi.rules"
AMD_REMOVAL = f"/var/lib/dpkg/info/{AMD_PACKAGE}.prerm"
_SPARES = "#!/bin/sh\n# nodeproof: AMD's own deletes /etc/cdi, and CDI from Docker's settings.\n"
_VALIDATE = 'containerd --config "$1" config dump >/dev/null'


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
        systemd.asked("reload", unit),
        *("&& sh -c", QuoteString(_RELOAD)),
        touches=[Item(Kind.TOLD, unit)],
    )


@operation()
def containerd(settings: Settings, cdi: bool, advice: str, unit: str) -> Generator[Any]:
    """
    Merge what is asked for into containerd's configuration, in the layout that it has.

    + settings: what is asked for
    + cdi: whether this containerd can hand out CDI devices, and shall
    + advice: what to do about a conflict
    + unit: containerd's unit

    **Example:**

    .. code:: python

        operations.containerd(name="Merge containerd's settings", settings=settings, cdi=True,
                              advice="...", unit="containerd.service")
    """

    now: FileStateData | None = host.get_fact(FileState, path=CONTAINERD_CONF)
    present = _read_containerd(now)
    version = _layout(present)
    yield from merged.file._inner(
        path=CONTAINERD_CONF,
        form="toml",
        values=configuration.containerd(settings, cdi=cdi, version=version, present=present),
        usual=configuration.containerd_usual(version),
        replace=settings.on_conflict == "replace",
        advice=advice,
        validate=["sh", "-c", _VALIDATE, "sh", "%s"],
        notify=unit,
    )


@operation()
def cdi_refresh(
    brings: bool = False, after: Sequence[OperationMeta] = ()
) -> Generator[FileUploadCommand | Change]:
    """
    Make NVIDIA's CDI specification be written at boot, and anew when driver or toolkit change.

    The toolkit brings units for that since 1.18; an older one gets units like them. They do not see
    that GPUs were divided anew: who does that restarts them, and here it is made good. Devices get
    their links in /dev/char, without which some versions of runc lose them when systemd reloads.

    + brings: whether the toolkit that `after` installs has units of its own
    + after: operations that install it

    **Example:**

    .. code:: python

        operations.cdi_refresh(name="Keep NVIDIA's CDI specification current")
    """

    ctk: NvidiaCtkData = host.get_fact(NvidiaCtk)
    comes = any(map(changes, after))
    if not ctk.present and not comes:
        host.noop("NVIDIA's container toolkit is not installed")
        return
    refreshes = brings if comes else ctk.refreshes
    rule = files.render("containers/nvidia-dev-char.rules.j2")
    yield from files.content._inner(path=DEV_CHAR_RULE, text=rule)
    if ctk.unlinked:
        touches = [journal.file(link) for link in ctk.unlinked]
        yield Change(f"{NVIDIA_CTK} system create-dev-char-symlinks", touches=touches)
    name = REFRESH if refreshes else OUR_REFRESH
    if not refreshes:
        yield from _our_units()
    elif ctk.ours:
        yield from _no_units_of_ours()
    service, path = f"{name}.service", f"{name}.path"
    yield from _enabled(service, path)
    if not host.get_fact(Unit, unit=path).active:
        touches = [journal.unit(path)]
        yield Change(systemd.asked("start", path), touches=touches)
    if ctk.undescribed:
        yield Change(systemd.asked("restart", service), touches=[journal.file(NVIDIA_CDI)])


@operation()
def amd_cdi(after: Sequence[OperationMeta] = ()) -> Generator[FileUploadCommand | Change]:
    """
    Make AMD's CDI specification be written at boot, and anew when GPUs come, go, or are divided.

    + after: operations that install AMD's toolkit

    **Example:**

    .. code:: python

        operations.amd_cdi(name="Keep AMD's CDI specification current")
    """

    ctk: AmdCtkData = host.get_fact(AmdCtk)
    comes = any(map(changes, after))
    if not ctk.present and not comes:
        host.noop("AMD's container toolkit is not installed")
        return
    rule = files.render("containers/nodeproof-amd-cdi.rules.j2")
    unit = list(_our_unit(AMD_REFRESH))
    yield from files.content._inner(path=AMD_RULE, text=rule)
    yield from unit
    yield from _enabled(AMD_REFRESH)
    if comes or unit or ctk.undescribed:
        yield Change(systemd.asked("start", AMD_REFRESH), touches=[journal.file(AMD_CDI)])


@operation()
def amd_spared(stack: Stack) -> Generator[FileUploadCommand | Change]:
    """
    Make an upgrade of AMD's toolkit spare what others wrote.

    The script with which an old version goes deletes /etc/cdi with all that is in it, and takes CDI
    out of Docker's settings, for users' other devices, too.

    + stack: what will be installed

    **Example:**

    .. code:: python

        operations.amd_spared(name="Spare what others wrote", stack=stack)
    """

    now: PackagesData = host.get_fact(AptPackages)
    there = now.installed.get(AMD_PACKAGE)
    if there is None or is_version(there, stack.wanted[AMD_PACKAGE]):
        host.noop("no other version of it goes")
        return
    yield from files.content._inner(path=AMD_REMOVAL, text=_SPARES, mode="755")


def _no_units_of_ours() -> Generator[FileUploadCommand | Change]:
    """Take away what did the work before a newer toolkit came."""
    for unit in (f"{OUR_REFRESH}.service", f"{OUR_REFRESH}.path"):  # the path tells of both
        yield from systemd.unit._inner(unit=unit, running=False, enabled=False)
        yield from files.absent._inner(path=f"/etc/systemd/system/{unit}")


def _our_units() -> Generator[FileUploadCommand | Change]:
    for kind in ("service", "path"):
        yield from _our_unit(f"{OUR_REFRESH}.{kind}")


def _our_unit(unit: str) -> Generator[FileUploadCommand | Change]:
    text = files.render(f"containers/{unit}.j2")
    commands = list(files.content._inner(path=f"/etc/systemd/system/{unit}", text=text))
    yield from commands
    if commands:
        reload = systemd.Asked("systemctl", "daemon-reload")
        yield Change(reload, touches=[Item(Kind.TOLD, unit)])


def _enabled(*units: str) -> Generator[Change]:
    for unit in units:
        now: UnitData = host.get_fact(Unit, unit=unit)
        if not now.enabled:
            yield Change(systemd.asked("enable", unit), touches=[journal.unit(unit)])


def _read_containerd(now: FileStateData | None) -> dict[str, Any]:
    """Return what containerd's file says; merging says what is wrong with one that says nothing."""
    if now is None or now.kind != "file":
        return {}
    try:
        return merging.parsed(now.text, "toml")
    except merging.UnreadableError as error:
        raise OperationError(f"{CONTAINERD_CONF} {error}; mend it by hand") from error


def _layout(present: dict[str, Any]) -> int:
    """Return the version of the file's layout; of one that is to be made, the newest known."""
    if not present:
        return 3 if (host.get_fact(ContainerdMajor) or 0) >= 2 else 2
    version = present.get("version", 1)
    if version not in configuration.CRI_PLUGINS:
        raise OperationError(
            f"{CONTAINERD_CONF}: its layout is version {version}, and 2 and 3 are known; "
            "convert it with: containerd config migrate"
        )
    off = [one for one in present.get("disabled_plugins", []) if one in configuration.CRI_NAMES]
    if off:
        raise OperationError(
            f"{CONTAINERD_CONF}: disabled_plugins holds {off[0]}, which Kubernetes and CDI need; "
            "remove it there"
        )
    return int(version)


def _image(engine: str) -> Item:
    probe = f"{engine} image inspect --format '{{{{.Id}}}}' {PROBE_IMAGE}"
    undo = f"{engine} image rm --force {PROBE_IMAGE}"
    return Item(Kind.CUSTOM, f"image {PROBE_IMAGE} of {engine}\t{probe}\t{undo}")
