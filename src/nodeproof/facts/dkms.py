"""Kernel modules that the machine builds for itself: for which kernels, and why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.scripts import text

# dkms 2 separates name and version by a comma, since 2.8.7 by a slash. What is added only has
# neither kernel nor processor; remarks about the files stand behind the state.
_LINE = re.compile(
    r"^(?P<module>[^/,:]+)[/,] ?(?P<version>[^,:]+)(?:, (?P<kernel>[^,:]+), [^:]+)?: "
    r"(?P<state>\w+)(?P<rest>.*)"
)
_DIFFERS = re.compile(r"\((WARNING! Diff|Differences) between built and installed module")
_GONE = re.compile(r"\((WARNING! Missing some built modules|Built modules are missing)")
_COMMAND = (
    text("dkms.sh")
    + r"""
command -v dkms >/dev/null 2>&1 || exit 0
dkms --version 2>/dev/null | sed -n '1s/^/version=/p'
echo "secure_boot=$(secure_boot)"
dkms status 2>/dev/null | sed 's/^/status=/'
for at in /lib/modules/*; do
    [ -e "$at/modules.dep" ] || [ -e "$at/kernel" ] || continue
    dkms_report "${at##*/}"
    dkms_signers "${at##*/}"
done
true
"""
)


@dataclass(frozen=True)
class Dkms:
    """One version of a module that is built on the machine."""

    module: str
    version: str
    kernel: str
    """The kernel that it was built for; empty where it was built for none."""
    state: str
    """added, built, installed, or broken: its source is gone."""
    differs: bool = False
    """Whether what is installed is not what was built, or some of it is missing."""


@dataclass(frozen=True)
class Failure:
    """A build that failed."""

    kernel: str
    module: str
    version: str
    said: tuple[str, ...]
    """The lines of its log that explain: the compiler's, without folders."""


@dataclass(frozen=True)
class Signature:
    """Who signed a module that DKMS built."""

    kernel: str
    module: str
    signer: str
    """The name in the signer's certificate; empty where nobody signed it."""


@dataclass(frozen=True)
class DkmsData:
    """What DKMS has, for each installed kernel."""

    version: str = ""
    modules: tuple[Dkms, ...] = ()
    headers: dict[str, bool] = field(default_factory=dict)
    """Installed kernels, and whether modules can be built for each."""
    failed: tuple[Failure, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """Kernels, and modules (module/version) that say themselves that they are not for them."""
    signers: tuple[Signature, ...] = ()
    secure_boot: bool | None = None
    """None where the machine has EFI and does not say."""

    def said(self, kernel: str) -> dict[str, tuple[str, ...]]:
        """Return why builds for this kernel failed, by module/version."""
        return {
            f"{one.module}/{one.version}": one.said for one in self.failed if one.kernel == kernel
        }

    def missing(self, kernel: str, modules: Iterable[str] = ()) -> dict[str, str]:
        """Return the modules that a kernel lacks, each with the reason.

        + kernel: its version
        + modules: names that are asked for; all that DKMS knows, where none is given
        """
        excluded = {one for version, one in self.excluded if version == kernel}
        wanted = [one for one in self.modules if f"{one.module}/{one.version}" not in excluded]
        names = dict.fromkeys(modules or (one.module for one in wanted))
        reasons = {
            name: lacking(
                self.modules, name, kernel, self.headers.get(kernel, False), self.said(kernel)
            )
            for name in names
        }
        return {name: reason for name, reason in reasons.items() if reason}


class DkmsModules(FactBase[DkmsData]):
    """
    Modules that the machine builds for itself, and the kernels that it has.

    .. code:: python

        DkmsData(
            version="dkms-3.0.10",
            modules=(Dkms("nvidia-current-open", "535.261.03", "6.1.0-50-amd64", "installed"),),
            headers={"6.1.0-50-amd64": True},
        )
    """

    called = "modules that it builds for itself"

    @override
    def command(self) -> StringCommand:
        """Return the script that prints ``key=value`` lines."""
        return StringCommand("sh", "-c", QuoteString(_COMMAND))

    @staticmethod
    @override
    def default() -> DkmsData:
        """Return that there are none."""
        return DkmsData()

    @override
    def process(self, output: list[str]) -> DkmsData:
        """Parse the lines; most keys may stand several times."""
        lines = [line.partition("=") for line in output]
        said: dict[str, list[str]] = {}
        for key, _, value in lines:
            said.setdefault(key, []).append(value)
        secure = "".join(said.get("secure_boot", [])[-1:])
        return DkmsData(
            version="".join(said.get("version", [])[:1]),
            modules=tuple(filter(None, map(dkms_line, said.get("status", [])))),
            headers={
                kernel: answer == "yes"
                for kernel, _, answer in (line.partition(" ") for line in said.get("headers", []))
            },
            failed=failures(said.get("failed", [])),
            excluded=tuple(
                (kernel, module)
                for kernel, _, module in (line.partition(" ") for line in said.get("excluded", []))
            ),
            signers=tuple(
                Signature(*words)
                for words in (line.split(" ", 2) for line in said.get("signer", []))
                if len(words) == 3
            ),
            secure_boot={"yes": True, "no": False}.get(secure),
        )


def dkms_line(line: str) -> Dkms | None:
    """Return what one line of `dkms status` says; None where it says something else."""
    found = _LINE.match(line)
    if found is None:
        return None
    differs = bool(_DIFFERS.search(found["rest"]) or _GONE.search(found["rest"]))
    return Dkms(found["module"], found["version"], found["kernel"] or "", found["state"], differs)


def failures(lines: Iterable[str]) -> tuple[Failure, ...]:
    """Return builds that failed, of lines ``KERNEL MODULE/VERSION WHAT THE LOG SAYS``."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for line in lines:
        kernel, name, what = line.split(" ", 2)
        module, _, version = name.partition("/")
        said.setdefault((kernel, module, version), []).append(what)
    return tuple(Failure(*which, tuple(what)) for which, what in said.items())


def lacking(
    modules: Iterable[Dkms],
    name: str,
    kernel: str,
    headers: bool,
    said: Mapping[str, tuple[str, ...]],
) -> str:
    """Return why a kernel does not have a module and what to do; nothing where it has it.

    + modules: what DKMS has
    + name: the module that is asked for
    + kernel: the kernel's version
    + headers: whether modules can be built for it
    + said: why builds for it failed, by module/version
    """
    found = [one for one in modules if one.module == name]
    states = {one.state for one in found if one.kernel == kernel}
    if "installed" in states:
        return ""
    if "built" in states:
        return f"it is built, but not installed: run dkms install {name} -k {kernel}"
    if found and all(one.state == "broken" for one in found):
        return "its source is gone: install its package again"
    failed = next((said[key] for one in found if (key := f"{name}/{one.version}") in said), ())
    if failed:
        return f"its build failed: {'; '.join(failed)}"
    if not found:
        return "DKMS does not know it: install its package"
    if not headers:
        return f"the kernel's headers are not installed: install those of {kernel}"
    return f"run dkms autoinstall -k {kernel}"
