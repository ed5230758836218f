"""Reboots: what makes one needed, what forbids it, and how each way that it can end is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from local_fleet import fleet, run
from samples import result

from nodeproof.cli.apply import apply
from nodeproof.cli.main import cli
from nodeproof.engine import oneshot, reboot
from nodeproof.engine.adapter.session import Session
from nodeproof.engine.bootable import examine
from nodeproof.engine.reboot import Order, conclude
from nodeproof.engine.result import Command, Node, NodeStatus, Reboot, Result
from nodeproof.engine.run import Options
from nodeproof.errors import UnreachableError
from nodeproof.facts.boot import BEFORE, TRYING, Boot, BootData, Grub, Kernel, Loader
from nodeproof.facts.bootable import Bootable, BootableData
from nodeproof.facts.dkms import Dkms
from nodeproof.facts.grub import Entry, Menu
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.work import Work
from nodeproof.settings.reboot import When
from nodeproof.settings.site import validate

OLD, NEW = "6.12.107+deb13-cloud-amd64", "6.12.117+deb13-cloud-amd64"
WHOLE = tuple(Kernel(one, image=True, initrd=True, modules=True) for one in (OLD, NEW))
DIRECT = BootData(
    boot_id="1111", machine_id="aaaa", running=OLD, loader=Loader.DIRECT, kernels=WHOLE[:1]
)
ROOT = BootableData(
    root="ext4 /dev/vda1", modules=("ext4", "virtio_blk"), listed=400, holds=("ext4", "virtio_blk")
)


def entry(position: str, version: str) -> Entry:
    above = ("1", "advanced", "Advanced options")
    return Entry((above, (position, f"id-{version}", version)), f"/boot/vmlinuz-{version}")


MENU = Menu(
    (Entry((("0", "simple", "Debian"),), f"/boot/vmlinuz-{NEW}"), entry("0", NEW), entry("1", OLD)),
    ("${next_entry}", "${saved_entry}"),
)
GRUB = Grub("/boot/grub", MENU, {}, "ext4 /dev/vda1", "grub-editenv")
WITH_GRUB = replace(
    DIRECT, loader=Loader.GRUB, kernels=WHOLE, grub=GRUB, cmdline="BOOT_IMAGE=/x panic=5"
)


def with_environment(boot: BootData, **values: str) -> BootData:
    assert boot.grub is not None
    return replace(boot, grub=replace(boot.grub, environment=values))


# What makes one needed


def test_nothing() -> None:
    assert DIRECT.reasons == ()
    assert WITH_GRUB.next == NEW


@pytest.mark.parametrize(
    ("boot", "wanted"),
    [
        (replace(DIRECT, notes=("a", "b")), ("a", "b")),
        (replace(DIRECT, required=""), ("the distribution asks",)),
        (replace(DIRECT, required="linux dbus dbus"), ("packages ask for it: linux dbus",)),
        (replace(DIRECT, kernels=WHOLE), ()),  # the hypervisor brings the old one again
        (WITH_GRUB, (f"kernel {NEW} boots next, {OLD} runs",)),
        (with_environment(WITH_GRUB, saved_entry=f"advanced>id-{OLD}"), ()),
        (
            with_environment(WITH_GRUB, saved_entry=f"advanced>id-{OLD}", **{BEFORE: ""}),
            (f"kernel {NEW} boots next, {OLD} runs",),
        ),
        (
            replace(DIRECT, loader=Loader.UNKNOWN, kernels=WHOLE),
            (f"kernel {NEW} is installed, {OLD} runs",),
        ),
        (replace(DIRECT, loader=Loader.UNKNOWN, kernels=WHOLE, running=NEW), ()),
        (
            replace(
                DIRECT,
                loader=Loader.UNKNOWN,
                kernels=(*WHOLE[:1], Kernel("7.0.1-amd64", image=True)),
            ),
            (),
        ),
        (replace(DIRECT, loader=Loader.UNKNOWN, kernels=(*WHOLE[:1], Kernel(NEW))), ()),
    ],
)
def test_reasons(boot: BootData, wanted: tuple[str, ...]) -> None:
    assert boot.reasons == wanted


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.1.0-9-cloud-amd64", "6.1.0-47-cloud-amd64"),
        ("6.12.107+deb13-amd64", "6.12.117+deb13-amd64"),
        ("5.14.0-427.13.1.el9_4.x86_64", "5.14.0-503.11.1.el9_5.x86_64"),
        ("6.8.0-31-generic", "6.8.0-101-generic"),
    ],
)
def test_kernels_are_ordered_by_number(older: str, newer: str) -> None:
    assert Kernel(older).order < Kernel(newer).order
    assert Kernel(older).flavour == Kernel(newer).flavour


# What forbids it

INITRD_GONE = replace(DIRECT, kernels=(Kernel(OLD, image=True, modules=True),))


@pytest.mark.parametrize(
    ("boot", "found", "wanted"),
    [
        (DIRECT, ROOT, ""),
        (INITRD_GONE, replace(ROOT, listed=None, holds=()), f"{OLD}: its initramfs is missing"),
        (INITRD_GONE, BootableData(root="ext4 /dev/vda1", builtin=("ext4",)), ""),
        (INITRD_GONE, BootableData(), "its initramfs is missing"),
        (DIRECT, replace(ROOT, listed=0, holds=()), "its initramfs cannot be read"),
        (DIRECT, replace(ROOT, holds=("ext4",)), "its initramfs lacks virtio_blk"),
        (DIRECT, replace(ROOT, absent=("xfs",)), "does not have xfs at all"),
        (replace(DIRECT, kernels=(Kernel(OLD, initrd=True, modules=True),)), ROOT, "its image is"),
        (replace(DIRECT, kernels=(Kernel(OLD, image=True, initrd=True),)), ROOT, "modules.dep"),
        (replace(DIRECT, kernels=(Kernel(OLD, modules=True),)), BootableData(), ""),
        (replace(DIRECT, kernels=()), BootableData(), "has no modules"),
        (replace(DIRECT, loader=Loader.UNKNOWN, kernels=()), ROOT, "no kernel is installed"),
        (DIRECT, replace(ROOT, dkms=(Dkms("nvidia", "580", OLD, "installed"),)), ""),
        (DIRECT, replace(ROOT, dkms=(Dkms("nvidia", "580", NEW, "installed"),)),
         f"the DKMS module nvidia is not built for it: run dkms autoinstall -k {OLD}"),
        (DIRECT, replace(ROOT, dkms=(Dkms("nvidia", "580", "", "added"),), headers=False),
         "is not built for it: the kernel's headers are not installed: install those of "),
        (DIRECT, replace(ROOT, dkms=(Dkms("nvidia", "580", "", "added"),),
                         failed={"nvidia/580": ("nv-pci.c:237:9: error: too few arguments",)}),
         "nvidia is not built for it: its build failed: nv-pci.c:237:9: error: too few arguments"),
        (DIRECT, replace(ROOT, dkms=(Dkms("nvidia", "580", "", "broken"),)), "its source is gone"),
        (DIRECT, replace(ROOT, dkms=(Dkms("nvidia", "580", OLD, "built"),)),
         f"built, but not installed: run dkms install nvidia -k {OLD}"),
        (DIRECT, replace(ROOT, dkms=(Dkms("nvidia", "580", "", "added"),)), "nvidia is not built"),
        (DIRECT, replace(ROOT, dkms=(Dkms("nvidia", "570", NEW, "installed"),
                                     Dkms("nvidia", "580", OLD, "installed"))), ""),
        (DIRECT, replace(ROOT, dkms=(Dkms("v4l2loopback", "0.15.0", "", "added"),),
                         excluded=("v4l2loopback/0.15.0",)), ""),
        (DIRECT, replace(ROOT, secure_boot=True), ""),
        (DIRECT, replace(ROOT, secure_boot=True, unsigned=("nvidia.ko",)), "signed nvidia.ko"),
        (with_environment(WITH_GRUB, **{TRYING: NEW, BEFORE: ""}), ROOT,
         "did not come up when it was tried"),
        (replace(with_environment(WITH_GRUB, **{TRYING: NEW}), running=NEW), ROOT, ""),
    ],
)  # fmt: skip
def test_examine(boot: BootData, found: BootableData, wanted: str) -> None:
    problems = examine(boot, dict.fromkeys(boot.candidates, found))
    assert len(problems) == bool(wanted), problems
    assert wanted in "".join(problems)


def test_every_kernel_that_may_boot_is_looked_at() -> None:
    boot = replace(DIRECT, loader=Loader.UNKNOWN, kernels=WHOLE)
    assert boot.candidates == (OLD, NEW)
    (problem,) = examine(boot, {OLD: ROOT, NEW: replace(ROOT, holds=("ext4",))})
    assert problem.startswith(f"kernel {NEW}: ")


# How it ends


class Machine:
    """A session with a machine that boots as it is told to, each boot being one of `boots`."""

    remote = True

    class host:
        name = "node1"

    def __init__(self, *boots: BootData | None, work: tuple[str, ...] = ()) -> None:
        self.boots = list(boots)
        self.work = work
        self.found = ROOT
        self.failed: list[str] = []
        self.ran: list[str] = []
        self.answers: dict[str, tuple[int, bytes, bytes]] = {}

    def known(self, cls: type) -> Any:
        return self.fact(cls) if self.boots[0] else None

    def fact(self, cls: type, **arguments: Any) -> Any:
        return {Boot: self.boots[0], Work: self.work, Bootable: self.found}[cls]

    def anew(self, *wanted: type) -> None:
        pass

    def execute(self, command: str) -> tuple[int, bytes, bytes]:
        self.ran.append(command)
        if command in self.answers:
            return self.answers[command]
        if command == "systemctl reboot" and len(self.boots) > 1:
            self.boots.pop(0)
            raise UnreachableError("node1: connection lost")
        if "boot_id" in command:
            assert self.boots[0] is not None
            return 0, self.boots[0].boot_id.encode() + b"\n", b""
        if "list-units" in command:
            return 0, "".join(f"{one} loaded failed\n" for one in self.failed).encode(), b""
        return 0, b"", b""

    def reconnect(self, within_s: float) -> None:
        if self.boots[0] is None:
            raise UnreachableError("node1: connection refused")


FACTS = NodeFacts(virtualization="kvm").model_dump(mode="json")
AFTER = replace(DIRECT, boot_id="2222")
ALWAYS = Order(When.ALWAYS, limit_s=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reboot, "PAUSE_S", 0.001)


def concluded(
    machine: Any, order: Order = ALWAYS, status: NodeStatus = NodeStatus.OK, **facts: str
) -> Node:
    said: list[str] = []
    node = Node(name="node1", status=status, facts={**FACTS, **facts})
    return conclude(machine, node, order, said.append)


def rebooted(machine: Machine) -> bool:
    return "systemctl reboot" in machine.ran


def test_good() -> None:
    machine = Machine(DIRECT, AFTER)
    node = concluded(machine)
    assert (node.status, node.reason) == (NodeStatus.CHANGED, "")
    assert node.reboot is not None
    assert node.reboot.done
    assert (node.reboot.boot_id_before, node.reboot.boot_id_after) == ("1111", "2222")
    assert machine.ran.count("systemctl reboot") == 1


def stays_up(machine: Machine) -> None:
    machine.boots = [DIRECT]


def refuses(machine: Machine) -> None:
    machine.answers["systemctl reboot"] = (1, b"", b"Failed to talk to init\n")


def goes(machine: Machine) -> None:
    machine.boots[1:] = [None]


def is_another(machine: Machine) -> None:
    machine.boots[1:] = [replace(AFTER, machine_id="bbbb")]


def has_another_kernel(machine: Machine) -> None:
    machine.boots[1:] = [replace(AFTER, running=NEW)]


def still_needs_it(machine: Machine) -> None:
    machine.boots[1:] = [replace(AFTER, notes=("still",))]


@pytest.mark.parametrize(
    ("breaks", "status", "reason"),
    [
        (stays_up, NodeStatus.FAILED, "it is still in the same boot after 1 s"),
        (refuses, NodeStatus.FAILED, "systemctl reboot: Failed to talk to init"),
        (goes, NodeStatus.UNREACHABLE, "did not come back within 1 s (connection refused)"),
        (is_another, NodeStatus.FAILED, "another machine answers: its machine id is bbbb"),
        (has_another_kernel, NodeStatus.FAILED, f"{OLD} was to boot, but {NEW} runs"),
        (still_needs_it, NodeStatus.FAILED, "still needed after it: still"),
    ],
)
def test_bad(breaks: Callable[[Machine], None], status: NodeStatus, reason: str) -> None:
    machine = Machine(DIRECT, AFTER)
    breaks(machine)
    node = concluded(machine)
    assert node.status is status
    assert node.reason.startswith("reboot: ")
    assert reason in node.reason


def test_units_that_failed_since_are_named() -> None:
    machine = Machine(DIRECT, AFTER)
    machine.failed = ["old.service"]
    assert concluded(machine).status is NodeStatus.CHANGED

    class Worse(Machine):
        def reconnect(self, within_s: float) -> None:
            self.failed = ["old.service", "docker.service"]

    node = concluded(Worse(DIRECT, AFTER))
    assert node.status is NodeStatus.FAILED
    assert "failed since the reboot: docker.service, old.service" in node.reason


@pytest.mark.parametrize(
    ("machine", "facts", "reason"),
    [
        (Machine(DIRECT, work=("Slurm job 7 (step 0)",)), {}, "work is running: Slurm job 7"),
        (Machine(INITRD_GONE), {}, "might not come back"),
        (Machine(DIRECT), {"virtualization": "systemd-nspawn"}, "it is a container"),
    ],
)
def test_refused(machine: Machine, facts: dict[str, str], reason: str) -> None:
    machine.found = replace(ROOT, listed=None, holds=()) if machine.boots == [INITRD_GONE] else ROOT
    node = concluded(machine, **facts)
    assert node.status is NodeStatus.REFUSED
    assert reason in node.reason
    assert not rebooted(machine)


def test_work_may_be_killed_but_nothing_else_overridden() -> None:
    despite = replace(ALWAYS, despite_work=True)
    machine = Machine(DIRECT, AFTER, work=("container trainer",))
    node = concluded(machine, despite)
    assert node.reboot is not None
    assert node.reboot.done
    assert "was killed: container trainer" in node.reboot.notes
    machine = Machine(INITRD_GONE, work=("container trainer",))
    machine.found = BootableData()
    assert concluded(machine, despite).status is NodeStatus.REFUSED
    assert not rebooted(machine)


@pytest.mark.parametrize(
    ("when", "boot", "wanted"),
    [
        (When.NEVER, replace(DIRECT, notes=("x",)), False),
        (When.NEVER, DIRECT, False),
        (When.IF_NEEDED, DIRECT, False),
        (When.IF_NEEDED, replace(DIRECT, notes=("x",)), True),
        (When.ALWAYS, DIRECT, True),
    ],
)
def test_when(when: When, boot: BootData, wanted: bool) -> None:
    machine = Machine(boot, AFTER)
    node = concluded(machine, replace(ALWAYS, when=when))
    assert rebooted(machine) is wanted
    assert (node.reboot is not None) is (wanted or bool(boot.notes))
    if node.reboot is not None:
        assert node.reboot.needed == list(boot.notes)


@pytest.mark.parametrize("status", [NodeStatus.FAILED, NodeStatus.UNREACHABLE])
def test_not_after_a_failure(status: NodeStatus) -> None:
    machine = Machine(DIRECT, AFTER)
    assert concluded(machine, status=status).status is status
    assert machine.ran == []


def test_a_lost_connection_keeps_what_was_changed() -> None:
    class Lost(Machine):
        def known(self, cls: type) -> Any:
            return None

        def fact(self, cls: type, **arguments: Any) -> Any:
            raise UnreachableError("node1: connection lost")

    node = concluded(Lost(DIRECT), status=NodeStatus.CHANGED)
    assert node.status is NodeStatus.UNREACHABLE
    assert node.facts == FACTS


def test_a_mistake_of_ours_keeps_what_was_changed() -> None:
    class Broken(Machine):
        def fact(self, cls: type, **arguments: Any) -> Any:
            return super().fact(cls, **arguments) if cls is Boot else {}["nothing"]

    node = concluded(Broken(DIRECT), status=NodeStatus.CHANGED)
    assert (node.status, node.reason) == (NodeStatus.FAILED, "reboot: KeyError: 'nothing'")
    assert node.facts == FACTS


def test_this_machine_is_never_rebooted(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    execute = Session.execute

    def watched(self: Session, command: str) -> tuple[int, bytes, bytes]:
        ran.append(command)
        return (1, b"", b"") if "reboot" in command else execute(self, command)

    monkeypatch.setattr(Session, "execute", watched)
    monkeypatch.setattr(Order, "on", lambda self, inventory: ALWAYS)
    (node,) = run(Command.APPLY, fleet("node1"), lambda name: None, monkeypatch).nodes
    assert node.status is NodeStatus.REFUSED
    assert "it is not reached over SSH" in node.reason
    assert not [command for command in ran if "reboot" in command]


# A new kernel is tried once


def test_one_shot_is_arranged_and_settled() -> None:
    before = with_environment(WITH_GRUB, saved_entry="simple")
    arranged = {TRYING: NEW, BEFORE: "simple", "saved_entry": f"advanced>id-{OLD}"}
    after = with_environment(replace(WITH_GRUB, boot_id="2222", running=NEW), **arranged)
    machine = Machine(before, after)
    node = concluded(machine)
    assert node.status is NodeStatus.CHANGED, node.reason
    edits = [one for one in machine.ran if one.startswith("grub-editenv")]
    assert edits == [
        f"grub-editenv /boot/grub/grubenv set 'saved_entry=advanced>id-{OLD}' "
        f"'next_entry=advanced>id-{NEW}' {TRYING}={NEW} {BEFORE}=simple",
        "grub-editenv /boot/grub/grubenv set saved_entry=simple",
        f"grub-editenv /boot/grub/grubenv unset {TRYING} {BEFORE}",
    ]


def test_one_shot_that_returned_is_a_failure_and_is_not_tried_again() -> None:
    arranged = {TRYING: NEW, BEFORE: "", "saved_entry": f"advanced>id-{OLD}"}
    after = with_environment(replace(WITH_GRUB, boot_id="2222"), **arranged)
    machine = Machine(WITH_GRUB, after)
    node = concluded(machine)
    assert node.status is NodeStatus.FAILED
    assert f"kernel {NEW} was to boot, but {OLD} runs" in node.reason
    assert "went back to it by itself" in node.hint
    again = Machine(after)
    assert concluded(again, replace(ALWAYS, when=When.IF_NEEDED)).status is NodeStatus.REFUSED
    assert not rebooted(again)


def test_an_interrupted_try_is_settled_by_the_next_apply() -> None:
    left = {TRYING: NEW, BEFORE: "", "saved_entry": f"advanced>id-{OLD}"}
    machine = Machine(with_environment(replace(WITH_GRUB, running=NEW), **left))
    node = concluded(machine, replace(ALWAYS, when=When.IF_NEEDED))
    assert node.status is NodeStatus.OK
    assert not rebooted(machine)
    assert machine.ran == [f"grub-editenv /boot/grub/grubenv unset {TRYING} {BEFORE} saved_entry"]


@pytest.mark.parametrize(
    ("boot", "reason"),
    [
        (WITH_GRUB, ""),
        (replace(WITH_GRUB, loader=Loader.UNKNOWN), "not GRUB"),
        (replace(WITH_GRUB, grub=replace(GRUB, menu=replace(MENU, defaults=("0",)))), "not saved"),
        (replace(WITH_GRUB, grub=replace(GRUB, environment=None)), "no grubenv"),
        (replace(WITH_GRUB, grub=replace(GRUB, editor="")), "nothing to write it with"),
        (with_environment(WITH_GRUB, next_entry="simple"), "somebody has chosen"),
        (replace(WITH_GRUB, grub=replace(GRUB, kept_on="btrfs /dev/vda1")), "cannot write on"),
        (
            replace(WITH_GRUB, grub=replace(GRUB, kept_on="ext4 /dev/mapper/vg-root")),
            "cannot write",
        ),
        (replace(WITH_GRUB, running="5.0-amd64"), "menu does not have both 5.0-amd64"),
    ],
)
def test_why_not_once(boot: BootData, reason: str) -> None:
    why = oneshot.why_not(boot)
    assert reason in why
    assert bool(why) is bool(reason)


def test_a_panic_that_would_not_return_is_said() -> None:
    silent = replace(WITH_GRUB, cmdline="BOOT_IMAGE=/x")
    assert oneshot.NO_PANIC in oneshot.arrange(Machine(silent), silent)  # type: ignore[arg-type]
    assert oneshot.arrange(Machine(DIRECT), DIRECT) == []  # type: ignore[arg-type]


# What is asked


def test_the_inventory_says_when_and_the_command_line_wins() -> None:
    settings = validate("test", {"a": {"system": {"reboot": "if-needed"}}, "b": {"ssh": {}}})
    assert settings["a"].reboot is When.IF_NEEDED
    assert settings["b"].reboot is When.NEVER
    assert Order().on(settings["a"].reboot).when is When.IF_NEEDED
    assert Order(When.ALWAYS).on(When.NEVER).when is When.ALWAYS
    assert Order(When.NEVER).on(When.IF_NEEDED).when is When.NEVER


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), Order()),
        (("--reboot", "if-needed"), Order(When.IF_NEEDED)),
        (
            ("--reboot", "always", "--reboot-timeout", "60", "--reboot-despite-work"),
            Order(When.ALWAYS, 60, True),
        ),
    ],
)
def test_options_reach_the_engine(
    options: tuple[str, ...], wanted: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = noted(monkeypatch, Node(name="@local", status=NodeStatus.OK))
    done = CliRunner().invoke(cli, ("apply", "@local", "--yes", *options))
    assert done.exit_code == 0, done.output
    assert orders == [wanted]


@pytest.mark.parametrize(
    ("told", "asks"),
    [
        (None, False),
        (Reboot(needed=["x"]), False),
        (Reboot(asked=When.IF_NEEDED, needed=["x"]), True),
        (Reboot(asked=When.ALWAYS), True),
    ],
)
def test_a_reboot_is_asked_about_where_nothing_else_would_change(
    told: Reboot | None, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = noted(monkeypatch, Node(name="@local", status=NodeStatus.OK, reboot=told))
    monkeypatch.setattr("nodeproof.cli.apply.sys.stdin", Terminal())
    monkeypatch.setattr("nodeproof.cli.apply.click.confirm", lambda *words, **more: True)
    with pytest.raises(SystemExit) as ended:
        apply.main(["@local"], standalone_mode=False)
    assert ended.value.code == 0
    assert len(orders) == (2 if asks else 1)


class Terminal:
    def isatty(self) -> bool:
        return True


def noted(monkeypatch: pytest.MonkeyPatch, node: Node) -> list[Order]:
    """Have every run come out as this node; return what each was asked about reboots."""
    orders: list[Order] = []

    def ran(command: Command, fleet: Any, options: Options, watcher: Any) -> Result:
        orders.append(options.reboot)
        return result(command, node)

    monkeypatch.setattr("nodeproof.cli.apply.run", ran)
    return orders
