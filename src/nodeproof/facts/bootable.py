"""What one kernel needs to find this machine's root file system, and whether it has it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.facts.dkms import Dkms, dkms_line, failures
from nodeproof.scripts import text

# Modules are named with - or _ in files and with _ in /sys. What the running kernel knows under
# no name (a driver that lies in another's module, a file system such as overlay of a container)
# is not asked of another kernel either.
_COMMAND = (
    text("dkms.sh")
    + r"""
k=$1 need=
say() { printf '%s=%s\n' "$1" "$2"; }
add() {
  m=$(printf %s "${1##*/}" | tr - _)
  case " $need " in *" $m "*) ;; *) need="$need $m";; esac
}
known() {
  f=/lib/modules/$1/$3
  [ -r "$f" ] && tr - _ <"$f" | grep -qE "(^|/)$2\.ko[.:a-z]*( |\$)"
}
while read -r _ _ dev _ at _; do [ "$at" = / ] && major=$dev; done </proc/self/mountinfo
root=$(findmnt -nro FSTYPE,SOURCE / | tail -n 1)
say root "$root"
add "${root%% *}"
source=$(readlink -f -- "${root#* }")
if [ -b "$source" ]; then todo=/sys/class/block/${source##*/}; else todo=/sys/dev/block/$major; fi
seen=
while [ -n "$todo" ]; do
  at=$(readlink -f -- "${todo%% *}") todo=$(printf %s "${todo#"${todo%% *}"}" | sed 's/^ *//')
  case " $seen " in *" $at "*) continue;; esac
  [ -d "$at" ] || continue
  seen="$seen $at"
  [ -d "$at/dm" ] && add dm_mod
  grep -qs ^CRYPT- "$at/dm/uuid" && add dm_crypt
  if [ -r "$at/md/level" ]; then
    level=$(cat "$at/md/level"); case $level in raid[456]) level=raid456;; esac; add "$level"; fi
  [ -e "$at/partition" ] && todo="$todo ${at%/*}"
  for below in "$at"/slaves/*; do [ -e "$below" ] && todo="$todo $below"; done
  todo=${todo# } up=$at
  while [ -n "$up" ] && [ "$up" != /sys/devices ] && [ "$up" != /sys ]; do
    if [ -e "$up/driver/module" ]; then add "$(readlink -f "$up/driver/module")"
    elif [ -e "$up/driver" ]; then add "$(readlink -f "$up/driver")"; fi
    up=${up%/*}
  done
done
now=$(uname -r)
for m in $need; do
  known "$now" "$m" modules.dep || known "$now" "$m" modules.builtin || continue
  how=absent
  known "$k" "$m" modules.dep && how=module
  known "$k" "$m" modules.builtin && how=builtin
  say need "$m $how"
done
for i in "/boot/initrd.img-$k" "/boot/initramfs-$k.img"; do
  [ -s "$i" ] || continue
  list=
  if command -v lsinitramfs >/dev/null 2>&1; then list=$(lsinitramfs "$i" 2>/dev/null); code=$?
  elif command -v lsinitrd >/dev/null 2>&1; then list=$(lsinitrd "$i" 2>/dev/null); code=$?
  else code=127; fi
  say initrd "$code $(printf '%s\n' "$list" | grep -c .)"
  list=$(printf '%s\n' "$list" | sed -n 's,.*/\([^/]*\)\.ko[.a-z0-9]*$,\1,p' | tr - _)
  for m in $need; do printf '%s\n' "$list" | grep -qxF -- "$m" && say holds "$m"; done
done
if command -v dkms >/dev/null 2>&1; then
  dkms status 2>&1 | sed 's/^/dkms=/'
  dkms_report "$k"
fi
if [ "$(secure_boot)" = yes ]; then
  say secure_boot yes
  for at in "/lib/modules/$k"/updates/dkms/*.ko*; do
    [ -e "$at" ] && say signed "${at##*/} $(modinfo -F sig_key "$at" 2>/dev/null | tr -d ' ')"; done
fi
true
"""
)


@dataclass(frozen=True)
class BootableData:
    """What stands between one kernel and a machine that runs."""

    root: str = ""
    """File system type and device of the root."""
    builtin: tuple[str, ...] = ()
    """Modules that the root needs and that the kernel has in itself."""
    modules: tuple[str, ...] = ()
    """Modules that the root needs and that its initramfs must hold."""
    absent: tuple[str, ...] = ()
    """Modules that the root needs now, and that this kernel does not have at all."""
    listed: int | None = None
    """Files in its initramfs; 0 where it cannot be read, None where there is none."""
    holds: tuple[str, ...] = ()
    """Those of `modules` that its initramfs holds."""
    dkms: tuple[Dkms, ...] = ()
    excluded: tuple[str, ...] = ()
    """DKMS modules, as module/version, that say themselves that they are not for this kernel."""
    headers: bool = True
    """Whether DKMS can build for this kernel."""
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Builds for this kernel that failed, as module/version, with what explains it."""
    secure_boot: bool = False
    unsigned: tuple[str, ...] = ()
    """Files of its DKMS modules that nobody signed; looked at with Secure Boot only."""

    @property
    def lacking(self) -> tuple[str, ...]:
        """Modules that the root needs, and that its initramfs does not hold."""
        return tuple(one for one in self.modules if one not in self.holds)


class Bootable(FactBase[BootableData]):
    """
    What one installed kernel has of what this machine needs to boot.

    .. code:: python

        BootableData(root="ext4 /dev/vda1", modules=("ext4", "virtio_blk"), listed=412, ...)
    """

    called = "what can boot"

    @override
    def command(self, kernel: str) -> StringCommand:
        """Return the script that looks at one kernel, by its version."""
        return StringCommand("sh", "-c", QuoteString(_COMMAND), "sh", QuoteString(kernel))

    @staticmethod
    @override
    def default() -> BootableData:
        """Return a machine that said nothing."""
        return BootableData()

    @override
    def process(self, output: list[str]) -> BootableData:
        """Parse the lines; most keys may stand several times."""
        said: dict[str, list[str]] = {}
        for line in output:
            key, _, value = line.partition("=")
            said.setdefault(key, []).append(value)
        needs = [line.split() for line in said.get("need", [])]
        initrds = [_listed(line) for line in said.get("initrd", [])]
        return BootableData(
            root="".join(said.get("root", [])[-1:]),
            builtin=tuple(module for module, how in needs if how == "builtin"),
            modules=tuple(module for module, how in needs if how == "module"),
            absent=tuple(module for module, how in needs if how == "absent"),
            listed=initrds[-1] if initrds else None,
            holds=tuple(said.get("holds", [])),
            dkms=tuple(filter(None, map(dkms_line, said.get("dkms", [])))),
            excluded=tuple(line.split()[-1] for line in said.get("excluded", []) if line.strip()),
            headers=all(line.endswith(" yes") for line in said.get("headers", [])),
            failed={
                f"{one.module}/{one.version}": one.said for one in failures(said.get("failed", []))
            },
            secure_boot="secure_boot" in said,
            unsigned=tuple(
                line.split()[0] for line in said.get("signed", []) if len(line.split()) == 1
            ),
        )


def _listed(line: str) -> int:
    code, _, many = line.partition(" ")
    return int(many) if code == "0" else 0
