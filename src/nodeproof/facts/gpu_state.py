"""The state of a node's GPUs: what the vendors' tools, the driver and the kernel's log say now.

Everything is read in one command. Each part says whether it could be read: a judge of this fact
must be able to tell "nothing is wrong" from "nobody could look".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.facts.amd_smi import AmdGpu, parse_amd
from nodeproof.facts.driver import FIND_MODULE
from nodeproof.facts.kernel_log import PATTERN, KernelEvent, parse_events
from nodeproof.facts.nvidia_smi import parse_smi
from nodeproof.facts.nvlink import Links, parse_links
from nodeproof.facts.smi import Smi

SMI_TIMEOUT_S = 60
"""A GPU that hangs must not hang whoever looks at it."""

NOT_INSTALLED = "is not installed"
"""How the reason ends where a tool is not there at all."""

_COMMAND = (
    r"""
PATH=$PATH:/opt/rocm/bin
say() { printf '%s=%s\n' "$1" "$2"; }
run() {
  key=$1; shift
  command -v "$1" >/dev/null 2>&1 || { say "$key.missing" "$1"; return; }
  out=$(LC_ALL=C timeout -k 5 """
    + str(SMI_TIMEOUT_S)
    + r""" "$@" 2>&1 </dev/null); say "$key.code" $?
  printf '%s\n' "$out" | sed "s/^/$key=/"
}
vendors=
for d in /sys/bus/pci/devices/*; do
  { IFS= read -r v <"$d/vendor" && IFS= read -r c <"$d/class"; } 2>/dev/null || continue
  case $v:$c in
    0x10de:0x03*) [ -e "$d/physfn" ] || say pci.nvidia "${d##*/}";;
    0x1002:0x03*|0x1002:0x12*) [ -e "$d/physfn" ] || say pci.amd "${d##*/}";; esac
done
[ -r /proc/driver/nvidia/version ] && sed 's/^/nvrm=/' /proc/driver/nvidia/version
if [ -e /proc/driver/nvidia ] || command -v nvidia-smi >/dev/null 2>&1; then
  run smi nvidia-smi -q -x | sed '/<supported_clocks>/,/<\/supported_clocks>/d
    /<processes>/,/<\/processes>/d; /<accounted_processes>/,/<\/accounted_processes>/d'
  run nvlink nvidia-smi nvlink --status
  run fm nv-fabricmanager --version
  run toolkit nvidia-container-cli info
  ldconfig -p 2>/dev/null | grep -v /compat/ |
    sed -nE 's/^.*lib(cuda|nvidia-ml)\.so\.1 .*=> (.*)$/\2/p' |
    while read -r i; do say library "$(readlink -f "$i")"; done
  for i in /etc/cdi/* /var/run/cdi/*; do
    [ -r "$i" ] && grep -ohE 'libcuda\.so\.[0-9][0-9.]+' "$i" | sort -u | sed 's/^/cdi=/'; done
  say fm.unit "$(systemctl is-active nvidia-fabricmanager 2>/dev/null)"
"""
    + FIND_MODULE
    + r"""
  [ -z "$p" ] || modinfo -F version "$p" 2>/dev/null | sed 's/^/module=/'
fi
if [ -e /sys/module/amdgpu ] || command -v amd-smi >/dev/null 2>&1; then
  run amd amd-smi metric --json
  run amd_static amd-smi static --json
fi
log=$(journalctl -k -b -q --no-pager -o short-iso 2>/dev/null)
if [ -n "$log" ]; then say log.source journal
else log=$(dmesg 2>/dev/null); [ -n "$log" ] && say log.source dmesg; fi
printf '%s\n' "$log" | grep -E '"""
    + PATTERN
    + r"""' | sed 's/^/log=/'
true
"""
)
_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")


@dataclass(frozen=True)
class GpuStateData:
    """What was said, and what could not be asked."""

    nvidia: tuple[str, ...] = ()
    """PCI addresses of NVIDIA GPUs on the bus, whether a driver knows them or not."""
    amd: tuple[str, ...] = ()
    smi: Smi | None = None
    links: tuple[Links, ...] = ()
    amd_gpus: tuple[AmdGpu, ...] = ()
    events: tuple[KernelEvent, ...] | None = None
    """Of this boot, oldest first; None where the kernel's log could not be read."""
    log_source: str = ""
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Driver versions by who says so: loaded, on-disk, library, nvidia-smi, fabric-manager,
    container-toolkit, cdi."""
    fabric_manager: str = ""
    """State of its unit, as systemctl says: active, inactive, failed...; empty if not asked."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """What could not be asked or understood, to why: smi, nvlink, amd, toolkit..."""


class GpuState(FactBase[GpuStateData]):
    """
    What GPUs, driver and kernel's log say now; see `nodeproof.health.gpu` for what is good.

    .. code:: python

        GpuStateData(nvidia=("0000:18:00.0",), smi=Smi(driver="580.178.04", ...), events=(), ...)
    """

    called = "the state of the GPUs"
    uncounted = "temperatures, clocks and counters move by themselves"

    @override
    def command(self) -> str:
        """Return the script that asks everybody."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> GpuStateData:
        """Return a machine that said nothing."""
        return GpuStateData()

    @override
    def process(self, output: list[str]) -> GpuStateData:
        """Parse the lines; each tool's output stands behind its key."""
        said: dict[str, list[str]] = {}
        for line in output:
            key, _, value = line.partition("=")
            said.setdefault(key, []).append(value)
        problems = {
            key: f"{said[f'{key}.missing'][0]} {NOT_INSTALLED}"
            for key in ("smi", "nvlink", "fm", "toolkit", "amd")
            if f"{key}.missing" in said
        }
        problems |= {
            key: _failed(said, key)
            for key in ("smi", "nvlink", "fm", "toolkit", "amd")
            if _code(said, key) not in ("", "0")
        }
        smi = _smi(said, problems)
        return GpuStateData(
            nvidia=tuple(said.get("pci.nvidia", ())),
            amd=tuple(said.get("pci.amd", ())),
            smi=smi,
            links=parse_links(said.get("nvlink", ())) if _code(said, "nvlink") == "0" else (),
            amd_gpus=_amd(said, problems),
            events=tuple(parse_events(said.get("log", ()))) if "log.source" in said else None,
            log_source="".join(said.get("log.source", [])[-1:]),
            versions=_versions(said, smi),
            fabric_manager="".join(said.get("fm.unit", [])[-1:]),
            problems=problems,
        )


def _code(said: Mapping[str, list[str]], key: str) -> str:
    return "".join(said.get(f"{key}.code", [])[-1:])


def _failed(said: Mapping[str, list[str]], key: str) -> str:
    """Return why a tool failed, in its own words where it has some."""
    code = _code(said, key)
    if code in ("124", "137"):
        return f"no answer in {SMI_TIMEOUT_S} s"
    words = [line.strip() for line in said.get(key, ()) if line.strip() and "<" not in line]
    return f"exit code {code}" + (f": {words[-1][:200]}" if words else "")


def _smi(said: Mapping[str, list[str]], problems: dict[str, str]) -> Smi | None:
    if "smi" not in said:
        return None
    try:
        return parse_smi("\n".join(said["smi"]))
    except ValueError as error:
        problems.setdefault("smi", str(error))
        return None


def _amd(said: Mapping[str, list[str]], problems: dict[str, str]) -> tuple[AmdGpu, ...]:
    if _code(said, "amd") != "0":
        return ()
    fixed = said.get("amd_static", ()) if _code(said, "amd_static") == "0" else ()
    try:
        return parse_amd("\n".join(said["amd"]), "\n".join(fixed))
    except ValueError as error:
        problems.setdefault("amd", str(error))
        return ()


def _versions(said: Mapping[str, list[str]], smi: Smi | None) -> dict[str, tuple[str, ...]]:
    """Return who names which driver version, without those who name none."""
    nvrm = [line for line in said.get("nvrm", ()) if line.startswith("NVRM version")]
    toolkit = [line for line in said.get("toolkit", ()) if line.startswith("NVRM version")]
    texts = {
        "loaded": nvrm,
        "on-disk": said.get("module", []),
        "library": said.get("library", []),
        "nvidia-smi": [smi.driver] if smi else [],
        "fabric-manager": said.get("fm", []) if _code(said, "fm") == "0" else [],
        "container-toolkit": toolkit,
        "cdi": said.get("cdi", []),
    }
    found = {who: _VERSION.findall(" ".join(lines)) for who, lines in texts.items()}
    return {who: tuple(dict.fromkeys(versions)) for who, versions in found.items() if versions}
