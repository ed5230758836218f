"""What hardening sets for which node: the table of conflicts, and what holds for all of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nodeproof.catalog.hardening.decide import CHOSEN, applicable, decide, exemptions, values
from nodeproof.catalog.hardening.model import LEAVE, Conflict, Parameter, parameters, sources
from nodeproof.evidence.controls import controls
from nodeproof.facts.sysctl import Assignment, overriding
from nodeproof.settings.roles import Role

SUBJECTS = ("sysctl", "modules", "limits", "coredump")
SUBJECTS = ("sysctl", "modules", "limits", "auditd")
ALL = {one.key: one for subject in SUBJECTS for one in parameters(subject)}
CONFLICTS = [(one.key, conflict) for one in ALL.values() for conflict in one.conflicts]
LEVELS = st.sampled_from([0, 1, 2])
ROLES = st.lists(st.sampled_from(Role), unique=True)
VALUES = st.one_of(st.integers(-1, 3), st.just(LEAVE))


def decided(key: str, level: Any, *roles: str, **chosen: Any) -> Any:
    choice = {key: chosen["chosen"]} if chosen else None
    (one,) = decide([ALL[key]], level, [Role(role) for role in roles], choice)
    return one


def parameter(**values: Any) -> Parameter:
    return Parameter.model_validate(
        {"key": "k", "control": "NP-KRN-01", "sources": ["house"], **values}
    )


# The table: what strict hardening would stop, by who needs it

TABLE = [
    # ip_forward=0: Docker, Podman's bridges, Kubernetes
    ("net.ipv4.ip_forward", 2, ["containers"], 1),
    ("net.ipv4.ip_forward", 1, ["kubernetes"], 1),
    ("net.ipv4.conf.all.forwarding", 2, ["containers"], 1),
    ("net.ipv4.conf.default.forwarding", 2, ["kubernetes"], 1),
    ("net.ipv6.conf.all.forwarding", 2, ["containers"], None),
    ("net.ipv6.conf.default.forwarding", 2, ["kubernetes"], None),
    # squashfs and overlay denied
    ("overlay", 2, ["containers"], None),
    ("overlay", 2, ["rootless"], None),
    ("overlay", 2, ["kubernetes"], None),
    ("overlay", 2, ["enroot"], None),
    ("squashfs", 2, ["enroot"], None),
    # user namespaces
    ("kernel.unprivileged_userns_clone", 2, ["rootless"], 1),
    ("kernel.unprivileged_userns_clone", 2, ["enroot"], 1),
    # strict reverse path filter: several rails, networks of Kubernetes
    ("net.ipv4.conf.all.rp_filter", 1, ["rdma"], 2),
    ("net.ipv4.conf.default.rp_filter", 2, ["rdma"], 2),
    ("net.ipv4.conf.all.rp_filter", 1, ["kubernetes"], None),
    ("net.ipv4.conf.default.rp_filter", 1, ["kubernetes"], None),
    ("net.ipv4.conf.*.rp_filter", 1, ["kubernetes"], None),
    ("net.ipv4.conf.*.rp_filter", 1, ["rdma"], 2),
    ("net.ipv4.conf.all.rp_filter", 1, ["rdma", "kubernetes"], None),
    # programs of the kernel that Cilium and its like are
    ("net.core.bpf_jit_harden", 2, ["kubernetes"], 1),
    # a full disk that halts the node
    ("disk_full_action", 2, ["slurm"], "rotate"),
    ("disk_full_action", 2, ["edge"], "rotate"),
    ("admin_space_left_action", 2, ["kubernetes"], "rotate"),
    ("disk_error_action", 2, ["training"], "syslog"),
    ("max_log_file_action", 2, ["inference"], "rotate"),
    # limits
    ("memlock", 1, ["rdma"], "unlimited"),
    ("memlock", 1, ["mpi"], "unlimited"),
    ("memlock", 2, ["slurm"], "unlimited"),
    ("nproc", 2, ["training"], None),
    ("nproc", 2, ["inference", "multi-tenant"], None),
    ("nofile", 1, ["training"], 1048576),
    ("nofile_soft", 1, ["training"], 65536),
]


@pytest.mark.parametrize(("key", "level", "roles", "value"), TABLE)
def test_a_role_gets_what_its_work_needs_and_it_is_recorded(
    key: str, level: int, roles: list[str], value: Any
) -> None:
    one = decided(key, level, *roles)
    assert one.value == value
    assert one.exception is not None
    assert one.exception.value == value
    assert one.exception.wanted == ALL[key].wanted(level)  # type: ignore[arg-type]
    assert {role.value for role in one.exception.roles} <= set(roles)
    assert one.exception.reason
    assert one.exception.compensation


KEPT = [
    # MPI: 1 is enough for cross-memory attach of UCX and Open MPI, 2 would not be
    ("kernel.yama.ptrace_scope", 2, ["mpi"], 1),
    # profilers: a capability on the profiler instead
    ("kernel.perf_event_paranoid", 2, ["training", "notebook"], 3),
    ("kernel.unprivileged_bpf_disabled", 2, ["kubernetes"], 2),
    # rootless containers have a network of their own
    ("net.ipv4.ip_forward", 2, ["rootless"], 0),
    ("squashfs", 2, ["containers"], "deny"),
    ("kernel.kexec_load_disabled", 2, ["slurm"], 1),
    ("fs.suid_dumpable", 2, list(Role), 0),
]


@pytest.mark.parametrize(("key", "level", "roles", "value"), KEPT)
def test_what_does_not_stop_work_stays(key: str, level: int, roles: list[str], value: Any) -> None:
    one = decided(key, level, *roles)
    assert (one.value, one.exception) == (value, None)


@pytest.mark.parametrize(
    "key", ["kernel.modules_disabled", "user.max_user_namespaces", "kernel.core_pattern"]
)
def test_what_would_stop_drivers_and_services_is_never_set(key: str) -> None:
    """Drivers of DKMS load late, services have namespaces; init_on_alloc is the boot loader's."""
    assert key not in ALL


def test_level_0_asks_for_nothing() -> None:
    assert not values(decide(ALL.values(), 0, list(Role)))


def test_what_begins_at_strict_is_not_set_before() -> None:
    assert decided("overlay", 1).value is None
    assert decided("overlay", 2).value == "deny"


# The user's own choice

CHOICES = [
    ("kernel.kptr_restrict", 1, 0, True),
    ("kernel.kptr_restrict", 1, 2, False),  # stricter
    ("kernel.unprivileged_bpf_disabled", 1, 1, False),  # stricter, and the smaller number
    ("kernel.unprivileged_bpf_disabled", 1, 0, True),
    ("kernel.sysrq", 1, LEAVE, True),
    ("kernel.sysrq", 0, 1, False),  # nothing was asked
    ("kernel.kexec_load_disabled", 1, 0, False),  # not asked at this level
    ("memlock", 1, 64, False),
    ("memlock", 1, "unlimited", True),
]


@pytest.mark.parametrize(("key", "level", "chosen", "excepted"), CHOICES)
def test_the_users_choice_wins(key: str, level: int, chosen: Any, excepted: bool) -> None:
    one = decided(key, level, chosen=chosen)
    assert one.value == (None if chosen == LEAVE else chosen)
    assert bool(one.exception) is excepted
    if one.exception:
        assert (one.exception.roles, one.exception.reason) == ((), CHOSEN)


def test_a_choice_that_serves_the_control_ends_a_roles_exception() -> None:
    one = decided("net.ipv4.conf.all.rp_filter", 1, "rdma", chosen=1)
    assert (one.value, one.exception) == (1, None)


# What holds for any table

SOME = st.builds(
    parameter,
    key=st.sampled_from("abc"),
    server=st.one_of(st.none(), st.integers(0, 3)),
    strict=st.integers(0, 3),
    stricter=st.sampled_from(["higher", "lower", "neither"]),
    also=st.lists(st.integers(0, 3), max_size=1),
    conflicts=st.lists(
        st.fixed_dictionaries(
            {
                "roles": st.lists(st.sampled_from(Role), min_size=1),
                "value": VALUES,
                "reason": st.just("r"),
                "compensation": st.just("c"),
                "sources": st.just(["house"]),
            }
        ),
        max_size=3,
    ),
)
CHOSEN_VALUES = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=2)


@given(SOME, LEVELS, ROLES, CHOSEN_VALUES, st.randoms())
def test_the_order_of_roles_does_not_matter(
    one: Parameter, level: Any, roles: list[Role], chosen: Any, random: Any
) -> None:
    shuffled = random.sample(roles, len(roles))
    assert decide([one], level, roles, chosen) == decide([one], level, shuffled, chosen)


@given(SOME, LEVELS, ROLES, CHOSEN_VALUES)
def test_never_both_what_is_wanted_and_an_exception(
    one: Parameter, level: Any, roles: list[Role], chosen: Any
) -> None:
    (result,) = decide([one], level, roles, chosen)
    wanted = one.wanted(level)
    serves = wanted is None or (result.value is not None and one.serves(result.value, level))
    assert bool(result.exception) is not serves
    if result.exception:
        assert result.exception.value == result.value
        assert result.exception.wanted == wanted != result.value
        assert (result.exception.roles == ()) is (one.key in chosen)


@given(SOME, LEVELS, ROLES)
def test_without_conflict_and_choice_the_level_decides(
    one: Parameter, level: Any, roles: list[Role]
) -> None:
    (result,) = decide([one], level, roles)
    if not any(conflict.roles & set(roles) for conflict in one.conflicts):
        assert (result.value, result.exception) == (one.wanted(level), None)


@given(SOME, LEVELS, ROLES, ROLES)
def test_the_first_conflict_counts_and_more_roles_only_move_it_forward(
    one: Parameter, level: Any, roles: list[Role], more: list[Role]
) -> None:
    def which(of: list[Role]) -> int:
        places = [n for n, it in enumerate(one.conflicts) if it.roles & set(of)]
        return min(places, default=len(one.conflicts))

    assert which(roles + more) <= which(roles)
    (result,) = decide([one], level, roles)
    if level and which(roles) < len(one.conflicts) and one.wanted(level) is not None:
        value = one.conflicts[which(roles)].value
        assert result.value == (None if value == LEAVE else value)


# The shipped tables


def test_the_conflict_that_gives_up_most_stands_first() -> None:
    """So that of two roles the one that needs more is served: `leave` before any value."""
    for one in ALL.values():
        kinds = [conflict.value == LEAVE for conflict in one.conflicts]
        assert kinds == sorted(kinds, reverse=True), one.key


@pytest.mark.parametrize(("key", "conflict"), CONFLICTS)
def test_no_conflict_is_in_vain(key: str, conflict: Conflict) -> None:
    levels: list[Any] = [1, 2]
    before = itertools.takewhile(lambda one: one != conflict, ALL[key].conflicts)
    served = {role for one in before for role in one.roles}
    for role in conflict.roles - served:
        made = [decided(key, level, role.value).exception for level in levels]
        assert any(made), (key, role)


def test_every_conflict_is_in_the_table_above() -> None:
    tested = {(key, role) for key, _, roles, _ in TABLE for role in roles}
    for key, conflict in CONFLICTS:
        assert any((key, role.value) in tested for role in conflict.roles), (key, conflict.roles)


def test_every_source_is_known_and_used() -> None:
    used = {
        source
        for one in ALL.values()
        for entry in (one, *one.conflicts)
        for source in entry.sources
    }
    assert used <= set(sources())


def test_needs_leave_out_what_a_node_lacks() -> None:
    kept = applicable(ALL.values(), set())
    assert not any(one.key.startswith("net.ipv6") for one in kept)
    assert {*applicable(ALL.values(), set().union(*(one.needs for one in ALL.values())))} == {
        *ALL.values()
    }


@pytest.mark.parametrize(
    "wrong", [{}, {"server": LEAVE}, {"server": 1, "conflicts": [{"roles": [], "value": 1}]}]
)
def test_a_parameter_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parameter(**wrong)


def test_exemptions_are_the_exceptions_of_decisions() -> None:
    made = decide(ALL.values(), 2, [Role.CONTAINERS])
    assert exemptions(made) == tuple(one.exception for one in made if one.exception)


def test_every_control_is_known() -> None:
    assert {one.control for one in ALL.values()} <= set(controls())


# What a node cannot have beside what is asked


def assignment(file: str, key: str, value: str | None) -> Assignment:
    return Assignment(file, 1, key, value)


OURS = "/etc/sysctl.d/zz-nodeproof.conf"
WANTED = {"kernel.sysrq": "0", "net.ipv4.conf.*.rp_filter": "1"}


@pytest.mark.parametrize(
    ("file", "key", "value", "wins"),
    [
        ("/etc/sysctl.d/zzz.conf", "kernel.sysrq", "1", True),
        ("/etc/sysctl.d/zzz.conf", "kernel.sysrq", "0", False),
        ("/etc/sysctl.d/99-x.conf", "kernel.sysrq", "1", False),
        ("/etc/sysctl.conf", "kernel.sysrq", "1", True),
        ("/etc/ufw/sysctl.conf", "kernel.sysrq", "1", True),
        ("/usr/lib/sysctl.d/10-x.conf", "net.ipv4.conf.eth0.rp_filter", "2", True),
        ("/etc/sysctl.d/zzz.conf", "net.ipv4.conf.*.rp_filter", "2", True),
        ("/usr/lib/sysctl.d/50-default.conf", "net.ipv4.conf.*.rp_filter", "2", False),
        ("/etc/sysctl.d/zzz.conf", "kernel.sysrq", None, False),
        ("/etc/sysctl.d/zzz.conf", "kernel.panic", "9", False),
    ],
)
def test_lines_that_win_over_ours_are_found(
    file: str, key: str, value: str | None, wins: bool
) -> None:
    found = list(overriding([assignment(file, key, value)], OURS, WANTED))
    assert bool(found) is wins
