"""Results as nodeproof makes them: good ones, bad ones, many nodes, and hostile text."""

from __future__ import annotations

from nodeproof.engine.result import (
    Change,
    ChangeStatus,
    Check,
    Command,
    Exempted,
    Node,
    NodeRun,
    NodeStatus,
    Result,
    Score,
    Verdict,
)
from nodeproof.evidence.score import scored

DIFF = """\
--- /etc/ssh/sshd_config.d/10-nodeproof.conf
+++ /etc/ssh/sshd_config.d/10-nodeproof.conf
@@ -1,3 +1,4 @@
 # Managed by nodeproof (ssh). Local changes are overwritten.
-PermitRootLogin yes
+PermitRootLogin no
+AllowGroups ssh-users
 PasswordAuthentication no
"""
FACTS = {
    "os_id": "debian",
    "os_version": "13",
    "os_name": "Debian GNU/Linux 13 (trixie)",
    "kernel": "6.12.48+deb13-amd64",
    "architecture": "x86_64",
    "cpus": 64,
    "memory_kb": 527_958_016,
    "virtualization": "none",
    "lsm": "lockdown,capability,landlock,yama,apparmor",
    "apparmor": True,
    "disks": [{"mount": "/", "size_kb": 937_000_000, "free_kb": 801_000_000}],
}
STEPS = [
    ("system", "Install packages"),
    ("system", "Set the time zone"),
    ("system", "Set the host name"),
    ("system", "Write the time servers"),
    ("system", "Start the time service"),
    ("containers", "Install Docker"),
    ("containers", "Write daemon.json"),
    ("containers", "Restart Docker"),
    ("confinement", "Write the workload's profile"),
    ("confinement", "Load the workload's profile"),
    ("ssh", "Install the OpenSSH server"),
    ("ssh", "Write the sshd drop-in"),
    ("ssh", "Reload the OpenSSH server"),
]
CHECKS = [
    ("system", "test_packages_installed[chrony]", "Packages are whole.", ["NP-SYS-01"]),
    ("system", "test_time_zone", "Logs can be read side by side.", ["NP-SYS-02"]),
    ("system", "test_clock_synchronised", "Clocks agree with the time servers.", ["NP-SYS-03"]),
    ("system", "test_sudoers_valid", "Only root decides who is root.", ["NP-SYS-08"]),
    ("ssh", "test_root_login_refused", "Root does not log in over the network.", ["NP-SSH-01"]),
    ("ssh", "test_password_login_refused", "Passwords are guessed.", ["NP-SSH-02"]),
    ("ssh", "test_algorithms_strong[ciphers]", "No weak cipher is accepted.", ["NP-SSH-03"]),
    ("ssh", "test_algorithms_strong[macs]", "No weak MAC is accepted.", ["NP-SSH-03"]),
    ("containers", "test_container_runs", "A container really runs.", ["NP-CTR-02"]),
    ("containers", "test_confined_by_default", "Containers start confined.", ["NP-CTR-05"]),
    ("confinement", "test_profile_enforced", "The profile is enforced.", ["NP-CON-02"]),
    ("confinement", "test_denials", "Proven by trying.", ["NP-CON-03", "NP-CON-02"]),
]
REASON = """\
permitrootlogin is yes, want no
  sshd -T was run as root at 12:00:03"""
HOSTILE = "<script>alert('x')</script>&\"\x1b[31mred\x00\u202egnp.exe]]>"


def result(command: Command, *nodes: Node, interrupted: bool = False) -> Result:
    return Result(
        command=command,
        run="20261003T091500Z-4f2a9c",
        version="0.1.0",
        inventory="inventories/lab.py",
        started="2026-10-03T09:15:00+00:00",
        duration_s=41.237,
        nodes=list(nodes),
        interrupted=interrupted,
    )


def change(position: int, status: ChangeStatus, **more: object) -> Change:
    layer, name = STEPS[position]
    told = {"commands": [f"run-step-{position}"]} if status is not ChangeStatus.UNCHANGED else {}
    diff = DIFF if name == "Write the sshd drop-in" and told else ""
    values = {"duration_s": 0.25, "diff": diff, **told, **more}
    return Change.model_validate({"layer": layer, "name": name, "status": status, **values})


def changes(status: ChangeStatus, many: int) -> list[Change]:
    """Return all steps, the last `many` of them with `status`, the others right already."""
    first = len(STEPS) - many
    return [
        change(position, status if position >= first else ChangeStatus.UNCHANGED)
        for position in range(len(STEPS))
    ]


def check(position: int, verdict: Verdict = Verdict.PASSED, reason: str = "") -> Check:
    layer, name, title, controls = CHECKS[position]
    return Check(
        layer=layer,
        name=name,
        title=title,
        controls=controls,
        verdict=verdict,
        reason=reason,
        duration_s=0.041,
    )


def checks(
    failed: dict[int, str] | None = None, skipped: dict[int, str] | None = None
) -> list[Check]:
    failed, skipped = failed or {}, skipped or {}
    return [
        check(position, Verdict.FAILED, failed[position])
        if position in failed
        else check(position, Verdict.SKIPPED, skipped[position])
        if position in skipped
        else check(position)
        for position in range(len(CHECKS))
    ]


def verified(name: str, proofs: list[Check]) -> Node:
    failed = sum(proof.verdict is Verdict.FAILED for proof in proofs)
    status = NodeStatus.FAILED if failed else NodeStatus.OK
    reason = f"{failed} of {len(proofs)} checks failed" if failed else ""
    return node(name, status, checks=proofs, reason=reason)


def node(name: str, status: NodeStatus, **more: object) -> Node:
    values = {"facts": FACTS, "duration_s": 12.5, "round_trips": 9, **more}
    return Node.model_validate({"name": name, "status": status, **values})


def unreachable(name: str) -> Node:
    return Node(
        name=name,
        status=NodeStatus.UNREACHABLE,
        reason="connection refused on 192.0.2.7 port 22",
        hint="start sshd there, or mend ssh_hostname in the inventory",
        duration_s=3.0,
    )


def refused(name: str) -> Node:
    return Node(
        name=name,
        status=NodeStatus.REFUSED,
        reason="Fedora 43 is not supported; supported are Debian 12, Debian 13",
        hint="leave the node out with --limit",
    )


def failed_apply(name: str) -> Node:
    steps = changes(ChangeStatus.CHANGED, 5)
    steps[10] = change(10, ChangeStatus.FAILED, reason="apt-get: exit code 100\nE: no space left")
    steps[11] = change(11, ChangeStatus.SKIPPED, reason="a change before it failed")
    steps[12] = change(12, ChangeStatus.SKIPPED, reason="a change before it failed")
    return node(
        name,
        NodeStatus.FAILED,
        changes=steps,
        reason="ssh: Install the OpenSSH server: apt-get: exit code 100\nE: no space left",
        hint="apply again: it goes on where it stopped",
    )


def inspected() -> Result:
    return result(
        Command.INSPECT, *(node(f"gpu-{n}", NodeStatus.OK) for n in (1, 2)), unreachable("gpu-3")
    )


def planned() -> Result:
    pending = changes(ChangeStatus.PLANNED, 5)
    return result(
        Command.PLAN,
        node("gpu-1", NodeStatus.PENDING, changes=pending, plan_hash="a1" * 32),
        node("gpu-2", NodeStatus.OK, changes=changes(ChangeStatus.PLANNED, 0), plan_hash="b2" * 32),
        node("gpu-3", NodeStatus.PENDING, changes=changes(ChangeStatus.PLANNED, 2)),
    )


def nothing_to_do() -> Result:
    steps = changes(ChangeStatus.PLANNED, 0)
    return result(Command.PLAN, *(node(f"gpu-{n}", NodeStatus.OK, changes=steps) for n in (1, 2)))


def applied() -> Result:
    return result(
        Command.APPLY,
        node("gpu-1", NodeStatus.CHANGED, changes=changes(ChangeStatus.CHANGED, 5)),
        node("gpu-2", NodeStatus.OK, changes=changes(ChangeStatus.CHANGED, 0)),
    )


def apply_failed() -> Result:
    surprise = changes(ChangeStatus.CHANGED, 3)
    surprise[12] = change(12, ChangeStatus.CHANGED, foreseen=False)
    return result(
        Command.APPLY,
        node("gpu-1", NodeStatus.CHANGED, changes=surprise),
        failed_apply("gpu-2"),
        unreachable("gpu-3"),
        refused("edge-1"),
    )


def proven() -> Result:
    return result(Command.VERIFY, *(verified(f"gpu-{n}", checks()) for n in (1, 2, 3)))


def verify_failed() -> Result:
    skipped = {8: "no container engine is asked for"}
    return result(
        Command.VERIFY,
        verified("gpu-1", checks({4: REASON, 10: "mode is complain"})),
        verified("gpu-2", checks({4: REASON}, skipped)),
        verified("gpu-3", checks()),
        unreachable("gpu-4"),
    )


PTRACE = Exempted(
    control="NP-CON-02",
    parameter="kernel.yama.ptrace_scope",
    wanted="1",
    value="0",
    roles=["mpi", "slurm"],
    reason="ranks on one node read each other's memory",
    compensation="the workloads' profile lets a program trace its own kind alone",
)
OWN = Exempted(
    control="NP-SSH-01",
    wanted="Root may not log in over SSH",
    reason="The installer of the racks logs in as root",
    compensation="Keys alone, from the network of the racks",
    expires="2027-01-31",
)
ENDED = OWN.model_copy(update={"control": "NP-SYS-03", "expires": "2026-09-30", "expired": True})


def excepted() -> Result:
    """Return checks that failed under exceptions, one that ended, one for the sake of roles."""
    proofs = checks({2: "offset is 3 s, want at most 0.5 s"})
    proofs[4] = check(4, Verdict.EXCEPTED, REASON)
    broken = checks()
    broken[5] = check(5, Verdict.FAILED, "connection lost").model_copy(update={"looked": False})
    first = verified("gpu-1", proofs).model_copy(update={"exceptions": [PTRACE, OWN, ENDED]})
    nodes = [first, verified("gpu-2", checks()), verified("gpu-3", broken)]
    nodes[1] = nodes[1].model_copy(update={"exceptions": [PTRACE]})
    return scored(result(Command.VERIFY, *nodes))


FIRST, SECOND, THIRD = (f"2026100{n}T091500Z-4f2a9c" for n in (1, 2, 3))


def a_run(run: str, came: str = "ok", **more: object) -> NodeRun:
    values = {
        "began": f"{run[:4]}-{run[4:6]}-{run[6:8]}T09:15:00Z",
        "who": "ada@control",
        "layers": ["system", "ssh"],
        "changes": 12,
        "inventory": "inventories/lab.py",
        "settings": "c0ffee" * 10,
        **more,
    }
    return NodeRun.model_validate({"id": run, "result": came, **values})


def listed() -> Result:
    """Return three runs: the first on all nodes, one on a single one, one that took it back."""
    first = [a_run(FIRST), a_run(FIRST, "ok, partly reverted"), a_run(FIRST)]
    nodes = [node(f"gpu-{n}", NodeStatus.OK, runs=[run]) for n, run in enumerate(first, 1)]
    back = a_run(THIRD, reverts=SECOND, settings="", changes=3)
    more = [*nodes[2].runs, a_run(SECOND, "reverted", changes=3), back]
    nodes[2] = nodes[2].model_copy(update={"runs": more})
    return result(Command.RUNS, *nodes, unreachable("gpu-4"))


def taken_back(status: ChangeStatus) -> Result:
    """Return a revert that would be made or was, with something in the way on one node."""
    steps = [
        Change(layer="ssh", name=f"Take back: {name}", status=status) for _, name in STEPS[-3:]
    ]
    node_status = {ChangeStatus.PLANNED: NodeStatus.PENDING}.get(status, NodeStatus.CHANGED)
    nodes = [
        node("gpu-1", node_status, changes=steps, notes=["/home/ada was not deleted: it is in x"]),
        Node(
            name="gpu-2",
            status=NodeStatus.REFUSED,
            reason="run x cannot be taken back as it is now:\n/etc/hosts: changed since",
        ),
        node("gpu-3", NodeStatus.OK, notes=["it has no run x; it stays as it is"]),
    ]
    return result(Command.REVERT, *nodes).model_copy(update={"reverts": FIRST})


def lasting() -> Result:
    """Return a plan of which something cannot be taken back."""
    sentence = "libc6 2.36-9 would be replaced or removed, and no repository offers that version"
    step = change(0, ChangeStatus.PLANNED, lasting=[sentence])
    return result(Command.PLAN, node("gpu-1", NodeStatus.PENDING, changes=[step]))


def fleet(command: Command, many: int = 200) -> Result:
    """Return a fleet most of which is well; a few nodes of every other sort."""
    nodes = [_member(command, number) for number in range(1, many + 1)]
    return result(command, *nodes)


def _member(command: Command, number: int) -> Node:
    name = f"gpu-{number:04}"
    if number % 67 == 0:
        return unreachable(name)
    bad = number % 23 == 0
    if command is Command.VERIFY:
        failed = {4: REASON, 2: f"offset is {number / 10} s, want at most 0.5 s"} if bad else {}
        return verified(name, checks(failed))
    if command is Command.PLAN:
        status = NodeStatus.PENDING if bad else NodeStatus.OK
        return node(name, status, changes=changes(ChangeStatus.PLANNED, 3 * bad))
    if bad:
        return failed_apply(name)
    return node(name, NodeStatus.CHANGED, changes=changes(ChangeStatus.CHANGED, 5))


def wide(many: int, each: int) -> Result:
    """Return `many` nodes with `each` checks, one of them failing in its own way on every node."""
    nodes = []
    for number in range(many):
        proofs = [
            Check(
                layer="ssh",
                name=f"test_thing_{position}",
                title="It matters for a reason that takes a whole sentence to say.",
                controls=[f"NP-SSH-{position % 8 + 1:02}"],
                verdict=Verdict.FAILED if position == 3 else Verdict.PASSED,
                reason=f"value is {number}, want {number + 1}" if position == 3 else "",
            )
            for position in range(each)
        ]
        nodes.append(verified(f"node-{number:04}", proofs))
    return result(Command.VERIFY, *nodes)


def hostile(command: Command) -> Result:
    """Return a result with markup and control characters in every field that takes text."""
    step = Change(
        layer=HOSTILE,
        name=HOSTILE,
        status=ChangeStatus.FAILED,
        reason=HOSTILE,
        commands=[HOSTILE],
        diff=f"+{HOSTILE}\n-{HOSTILE}\n@@{HOSTILE}\n{HOSTILE}",
        foreseen=False,
        lasting=[HOSTILE],
    )
    words = ("began", "who", "inventory", "settings", "reverts")
    told = ("control", "parameter", "wanted", "value", "reason", "compensation", "expires")
    exempted = Exempted.model_validate({**dict.fromkeys(told, HOSTILE), "roles": [HOSTILE]})
    lists = ("passed", "excepted", "failed", "unseen", "not_applicable")
    score = Score.model_validate(
        {"standard": HOSTILE, "title": HOSTILE, "looked_at": 1, "automated": 0}
        | {key: [HOSTILE] for key in lists}
    )
    proofs = [
        Check(
            layer=HOSTILE,
            name=HOSTILE,
            title=HOSTILE,
            controls=[HOSTILE],
            verdict=v,
            reason=HOSTILE,
        )
        for v in Verdict
    ]
    nodes = [
        Node(
            name=f"{status}{HOSTILE}",
            status=status,
            reason=HOSTILE,
            hint=HOSTILE,
            facts={HOSTILE: {HOSTILE: [HOSTILE]}, "os_name": HOSTILE, "kernel": HOSTILE},
            plan_hash=HOSTILE,
            changes=[step, step.model_copy(update={"status": ChangeStatus.PLANNED})],
            checks=proofs,
            exceptions=[exempted],
            notes=[HOSTILE],
            runs=[a_run(HOSTILE, HOSTILE, **dict.fromkeys(words, HOSTILE), layers=[HOSTILE])],
        )
        for status in NodeStatus
    ]
    return result(command, *nodes).model_copy(
        update={
            **dict.fromkeys(("run", "reverts", "version", "inventory", "started"), HOSTILE),
            "standards": [HOSTILE],
            "scores": [score],
        }
    )


def everything() -> dict[str, Result]:
    """Return every sample by name."""
    small = (
        inspected, planned, nothing_to_do, applied, apply_failed, proven, verify_failed, excepted
    )  # fmt: skip
    fleets = {f"fleet_{command}": fleet(command) for command in Command}
    hostiles = {f"hostile_{command}": hostile(command) for command in Command}
    return (
        {make.__name__: make() for make in small}
        | fleets
        | hostiles
        | {
            "listed": listed(),
            "would_be_taken_back": taken_back(ChangeStatus.PLANNED),
            "taken_back": taken_back(ChangeStatus.CHANGED),
            "put_back": taken_back(ChangeStatus.SKIPPED),
            "lasting": lasting(),
            "empty": result(Command.VERIFY),
            "nothing_proven": result(Command.VERIFY, node("gpu-1", NodeStatus.OK)),
            "interrupted": result(
                Command.APPLY, failed_apply("gpu-1"), node("gpu-2", NodeStatus.OK), interrupted=True
            ),
        }
    )
