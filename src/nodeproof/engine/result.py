"""The one result model: what was found, planned, changed and proven, on every node.

Its JSON form is versioned; ``schema/result-1.json`` is made from it and shipped.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nodeproof.settings.reboot import When

SCHEMA: Literal["nodeproof/result/1"] = "nodeproof/result/1"


class Command(StrEnum):
    """The command that made a result."""

    INSPECT = "inspect"
    PLAN = "plan"
    APPLY = "apply"
    VERIFY = "verify"
    RUNS = "runs"
    REVERT = "revert"


class NodeStatus(StrEnum):
    """How one node came out."""

    OK = "ok"
    CHANGED = "changed"
    PENDING = "pending"
    FAILED = "failed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


class ChangeStatus(StrEnum):
    """How one change came out; `planned` is the only one that a plan has besides `unchanged`."""

    PLANNED = "planned"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    SKIPPED = "skipped"


class Verdict(StrEnum):
    """How one check came out; a check that could not look has failed."""

    PASSED = "passed"
    FAILED = "failed"
    EXCEPTED = "excepted"
    """It failed, and exceptions of the inventory cover all its controls."""
    SKIPPED = "skipped"


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_serialization_defaults_required=True,  # a written result has every field
    )


class Change(_Model):
    """One idempotent step on one node."""

    layer: str
    name: str
    status: ChangeStatus
    reason: str = Field("", description="why it failed, was skipped, or differs from the plan")
    duration_s: float = Field(0.0, description="seconds")
    commands: list[str] = Field(default_factory=list, description="as run, secrets masked")
    diff: str = Field("", description="unified diff of text files")
    foreseen: bool = Field(True, description="whether the plan said the same")
    lasting: list[str] = Field(
        default_factory=list, description="what of it cannot be taken back, a sentence each"
    )


class Check(_Model):
    """One read-only proof on one node."""

    layer: str
    name: str = Field(description="the check's function and, in brackets, its case")
    title: str = Field(description="why it matters, one sentence")
    controls: list[str] = Field(description="ids of the controls it proves")
    verdict: Verdict
    looked: bool = Field(True, description="false where it broke before it could measure")
    reason: str = Field("", description="why it failed or was skipped; what it measured")
    duration_s: float = Field(0.0, description="seconds")


class Exempted(_Model):
    """One control, or one parameter of it, that is not met on purpose."""

    control: str
    parameter: str = Field("", description="empty where it is the whole control")
    wanted: str = Field("", description="what the control asks for")
    value: str = Field("", description="what is set instead; empty where nothing is set")
    roles: list[str] = Field(
        default_factory=list, description="for whose sake; none where the inventory asks for it"
    )
    reason: str
    compensation: str = Field(description="what guards the node instead")
    expires: str = Field("", description="its last day, ISO 8601; empty where it has none")
    expired: bool = Field(False, description="whether it no longer counts")


class NodeRun(_Model):
    """One run, as a node's journal knows it."""

    id: str
    result: str = Field(
        description="ok, failed, interrupted, taken-back, not-taken-back, running or reverted; "
        "`, partly reverted` where some of it is no longer in effect"
    )
    began: str = Field("", description="ISO 8601, UTC, by the node's clock")
    who: str = ""
    layers: list[str] = Field(default_factory=list)
    changes: int = Field(0, description="how many changes it made on this node")
    inventory: str = ""
    settings: str = Field("", description="sha256 of the node's settings")
    reverts: str = Field("", description="id of the run that this one took back")


class Reboot(_Model):
    """Why a node should be rebooted, and what came of it."""

    asked: When = Field(When.NEVER, description="when apply may reboot it")
    needed: list[str] = Field(default_factory=list, description="why, one sentence each")
    done: bool = Field(False, description="whether it was rebooted, and is the same machine")
    kernel_before: str = ""
    kernel_after: str = Field("", description="empty where it did not come back")
    boot_id_before: str = ""
    boot_id_after: str = Field("", description="empty where it did not come back")
    duration_s: float = Field(0.0, description="seconds, until its boot was complete")
    notes: list[str] = Field(default_factory=list, description="what else is good to know")


class Node(_Model):
    """One node's part of a result."""

    name: str
    status: NodeStatus
    reason: str = Field("", description="why it is refused, failed or unreachable")
    hint: str = Field("", description="what to do about it")
    notes: list[str] = Field(
        default_factory=list, description="what was found or done besides, e.g. interrupted runs"
    )
    facts: dict[str, Any] = Field(default_factory=dict, description="as `inspect` reads them")
    plan_hash: str = Field("", description="sha256 over settings, facts and foreseen changes")
    changes: list[Change] = Field(default_factory=list)
    checks: list[Check] = Field(default_factory=list)
    exceptions: list[Exempted] = Field(
        default_factory=list, description="controls that are not met on purpose"
    )
    runs: list[NodeRun] = Field(default_factory=list, description="its journal, oldest first")
    reboot: Reboot | None = Field(None, description="none where nothing asks for one")
    round_trips: int = 0
    duration_s: float = Field(0.0, description="seconds")


class Score(_Model):
    """What the checks say of one standard, by its items; the worst node decides."""

    standard: str = Field(description="its key in the catalogue of controls")
    title: str
    passed: list[str] = Field(description="items whose controls all hold")
    excepted: list[str] = Field(description="items of a control that is not met on purpose")
    failed: list[str]
    unseen: list[str] = Field(description="items that could not be looked at")
    not_applicable: list[str] = Field(description="items whose checks were all skipped")
    looked_at: int = Field(description="how many items of all these can be automated")
    automated: int = Field(description="how many items can be automated, as its source has them")

    @property
    def applicable(self) -> int:
        """How many of its items should hold here."""
        return sum(map(len, (self.passed, self.excepted, self.failed, self.unseen)))


class Result(_Model):
    """What one command found and did."""

    schema_version: Literal["nodeproof/result/1"] = Field(SCHEMA, alias="schema")
    command: Command
    run: str = Field(description="id of this run: UTC time and random suffix")
    reverts: str = Field("", description="id of the run that this one takes back")
    version: str = Field(description="nodeproof's version")
    inventory: str
    started: str = Field(description="ISO 8601, UTC")
    duration_s: float = Field(description="seconds")
    nodes: list[Node]
    standards: list[str] = Field(
        default_factory=list, description="whose checks were chosen; none: all checks"
    )
    scores: list[Score] = Field(default_factory=list, description="of verify, for each standard")
    interrupted: bool = False

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
