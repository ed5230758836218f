"""One finding of a judge: what, on which device, measured, allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

NODE = "the node"


class Verdict(StrEnum):
    """How one finding came out."""

    OK = "ok"
    FAILED = "failed"
    NOTED = "noted"
    """Nothing is wrong yet, and somebody should know."""
    SKIPPED = "skipped"
    """It could not be asked, and a rule that is documented says why that is right."""


class Topic(StrEnum):
    """What findings are about; one check each."""

    PRESENT = "present"
    VERSIONS = "versions"
    LOG = "log"
    RECOVERY = "recovery"
    PCIE = "pcie"
    ECC = "ecc"
    MEMORY_REPAIR = "memory-repair"
    CLOCKS = "clocks"
    TEMPERATURE = "temperature"
    NVLINK = "nvlink"
    FABRIC = "fabric"
    BURN_IN = "burn-in"


@dataclass(frozen=True)
class Finding:
    """What one look at one thing showed."""

    topic: Topic
    verdict: Verdict
    subject: str
    """The GPU, by PCI address and UUID, or the node."""
    what: str
    """The thing that was looked at, e.g. PCIe width."""
    measured: str
    allowed: str = ""
    action: str = ""

    @property
    def sentence(self) -> str:
        """All of it on one line."""
        allowed = f", allowed is {self.allowed}" if self.allowed else ""
        action = f"; {self.action}" if self.action else ""
        return f"{self.subject}: {self.what} is {self.measured}{allowed}{action}"


def held(
    topic: Topic,
    subject: str,
    what: str,
    measured: str,
    allowed: str = "",
    *,
    good: bool,
    action: str = "",
) -> Finding:
    """Return what came of holding a value against what is allowed; a good one needs no action."""
    verdict = Verdict.OK if good else Verdict.FAILED
    return Finding(topic, verdict, subject, what, measured, allowed, "" if good else action)


def noted(topic: Topic, subject: str, what: str, measured: str, allowed: str = "") -> Finding:
    """Return what somebody should know, although nothing is wrong yet."""
    return Finding(topic, Verdict.NOTED, subject, what, measured, allowed)


def skipped(topic: Topic, subject: str, what: str, why: str) -> Finding:
    """Return what could not be asked, and rightly so."""
    return Finding(topic, Verdict.SKIPPED, subject, what, why)


def failed(findings: Iterable[Finding], topic: Topic | None = None) -> list[Finding]:
    """Return the findings that failed, of one topic or of all."""
    return [
        one
        for one in findings
        if one.verdict is Verdict.FAILED and (topic is None or one.topic is topic)
    ]


def could_not_look(topic: Topic, subject: str, what: str, why: str, action: str = "") -> Finding:
    """Return the failure that stands where a value could not be read."""
    return Finding(
        topic, Verdict.FAILED, subject, what, f"unknown ({why})", action=action or "find out why"
    )
