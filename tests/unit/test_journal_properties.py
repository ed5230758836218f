"""Whatever is done, and wherever it is cut off: it is taken back, and nothing of others is lost.

By default a few examples, always the same. ``NODEPROOF_THOROUGH=2000`` tries that many at random.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from journal_node import AS_ROOT, THOROUGH, Node, acl, copy_of, end_after, in_memory, manifest

pytestmark = AS_ROOT

ACCOUNTS = "accounts\t-"
PATHS = ("a", "b c", "d", "d/x", "d/e", "d/e/y", "*")
EXAMPLES = int(os.environ.get("NODEPROOF_THOROUGH", "6"))

profile = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not THOROUGH,
    phases=[Phase.generate],  # to shrink takes minutes, and examples are short
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


@dataclass(frozen=True)
class Step:
    """Paths with what they become, by a shell script; where the program is killed meanwhile."""

    becomes: tuple[tuple[str, str], ...]
    accounts: tuple[str, ...] = ()
    cut: int = 0
    """At which of the tools that it calls the program is killed; at none with 0."""
    cut_command: int = 0
    """After how many lines of the script it is killed with all that it started."""
    backwards: bool = False
    """Whether the items are named children first."""
    guard: int = 0


FORMS = {
    "absent": "rm -rf -- {0}",
    "folder": "[ -d {0} ] && [ ! -L {0} ] || rm -rf -- {0}; mkdir -p -- {0} && chmod 7{1} -- {0}",
    "file": "rm -rf -- {0}; printf '%s' {1} >{0}; chmod 6{1} -- {0}; chown {1} -- {0}",
    "edited": "[ -L {0} ] || [ ! -f {0} ] || echo {1} >>{0}",
    "link": "rm -rf -- {0}; ln -s {1} {0}",
    "other mode": "[ -L {0} ] || [ ! -e {0} ] || chmod 5{1} -- {0}",
}
ACCOUNT_FORMS = (
    "echo u{0}:x:9{0}:9{0}::/home/u{0}:/bin/sh >>passwd; echo u{0}:x:9{0}: >>group",
    "sed -i /^u{0}:/d passwd shadow group gshadow",
    "sed -i 's/^sudo:.*/&,u{0}/' group gshadow",
    "sed -i 's/,u{0}$//; s/,u{0},/,/' group gshadow",
    "sed -i 's,^ada:.*,&{0},' passwd",
)

number = st.integers(10, 77).filter(lambda n: n % 10 < 8).map(str)
one_change = st.tuples(st.sampled_from(PATHS), st.tuples(st.sampled_from(sorted(FORMS)), number))
steps = st.builds(
    lambda changes, accounts, cuts, backwards: Step(
        becomes=tuple((path, FORMS[form].format("{0}", digit)) for path, (form, digit) in changes),
        accounts=tuple(accounts),
        cut=cuts[0],
        cut_command=cuts[1],
        backwards=backwards,
    ),
    st.lists(one_change, min_size=1, max_size=4),
    st.lists(
        st.builds(str.format, st.sampled_from(ACCOUNT_FORMS), st.sampled_from("123")), max_size=2
    ),
    st.sampled_from([(0, 0)] * 6)
    | st.tuples(st.integers(1, 90), st.just(0))
    | st.tuples(st.just(0), st.integers(1, 4)),
    st.booleans(),
)
runs = st.lists(st.lists(steps, min_size=1, max_size=3), min_size=1, max_size=3)
cuts = st.lists(st.just(0) | st.integers(1, 250), min_size=1, max_size=4)


class World:
    """A node with a few paths and accounts, and its journal, which only grows."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.known: dict[Path, str] = {}
        self.runs = 0
        d = node.files / "d"
        (d / "e").mkdir(parents=True)
        for name in ("a", "d/x"):
            (node.files / name).write_text(name)
        acl(node.files / "a")
        os.setxattr(node.files / "d/x", "user.colour", b"blue")
        acl(d, rights=5)
        (node.files / "b c").symlink_to("a")

    def state(self) -> dict[str, tuple[object, ...]]:
        return manifest(self.node.files, self.node.etc)

    def grown(self) -> None:
        """What the journal knows of a step does not change any more."""
        for path in self.node.runs.glob("*/[0-9]*/**/*"):
            if path.is_dir() and not path.is_symlink():
                continue
            if path.name.startswith("undone") or path.name.endswith((".merged", ".taken", ".new")):
                continue
            digest = repr(path.readlink()) if path.is_symlink() else hash_of(path)
            assert self.known.setdefault(path, digest) == digest, path
        assert all(os.path.lexists(path) for path in self.known)

    def name(self) -> str:
        self.runs += 1
        return f"R{self.runs:04}"

    def apply(self, run: list[Step], guard: bool = False) -> str:
        """Make one run; it ends, or dies where one of its steps is killed."""
        name = self.name()
        self.node.begin(name)
        for step in run:
            if not self.step(name, step):
                self.node.dead()
                return name
        self.node.good("end", name, "ok")
        self.grown()
        return name

    def step(self, run: str, step: Step) -> bool:
        files = self.node.files
        below = {p for path, _ in step.becomes for p in PATHS if f"{p}/".startswith(f"{path}/")}
        items = [f"file\t{files / path}" for path in sorted(below, reverse=step.backwards)]
        script = [
            f"[ ! -d {q(parent)} ] || [ -L {q(parent)} ] || {{ {form.format(q(files / path))}; }}"
            for path, form in step.becomes
            for parent in [(files / path).parent]
        ]
        if step.accounts:
            items.append(ACCOUNTS)
            script += [f"cd {self.node.etc}; {line}" for line in step.accounts]
        if step.cut_command:
            script[step.cut_command :] = ["kill -9 0"]
        end_after(self.node, step.cut)
        done = self.node.call(
            *("step", run, str(step.guard), "l", "n", *items, "--", "\n".join(script) + "\n:")
        )
        end_after(self.node, 0)
        assert done.returncode in (0, -9), done
        if done.returncode == 0:
            self.grown()
        return done.returncode == 0

    def revert(self, run: str, cuts: list[int]) -> str:
        """Take a run back; begin again as often as that is killed."""
        for cut in [*cuts, 0]:
            by = self.name()
            self.node.begin(by)
            end_after(self.node, cut)
            done = self.node.call("revert", run, by, "", "", "0")
            end_after(self.node, 0)
            if done.returncode == -9:
                self.node.dead()
                continue
            assert done.returncode == 0, done
            self.node.good("end", by, "ok")
            self.grown()
            return by
        raise AssertionError("unreachable")


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def q(path: Path) -> str:
    return shlex.quote(str(path))


@given(runs=runs, cuts=cuts, again=st.integers(0, 2))
@profile
def test_all_runs_taken_back_leave_what_was(
    runs: list[list[Step]], cuts: list[int], again: int
) -> None:
    with in_memory() as node:
        world = World(node)
        states = [world.state()]
        names = []
        for run in runs:
            names.append(world.apply(run))
            states.append(world.state())
        world.node.begin(last := world.name())  # settles what died
        world.node.good("end", last, "ok")
        states[-1] = settled = world.state()
        assert not [path for path in settled if path.endswith(".nodeproof")]
        for n, name in reversed(list(enumerate(names))):
            assert node.conflicts(name) == []
            by = world.revert(name, cuts)
            assert world.state() == clean(states[n]), name
            assert node.result(name) == "reverted" or not list((node.runs / name).glob("0*"))
            if n == again and cuts == [0]:
                by = world.revert(by, [])
                assert world.state() == clean(states[n + 1])
                world.revert(by, [])
                assert world.state() == clean(states[n])
            world.revert(name, [])
            assert world.state() == clean(states[n])


def clean(state: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Return a state without what waits for its name; whoever finds it removes it."""
    return {path: what for path, what in state.items() if not path.endswith(".nodeproof")}


@given(
    runs=runs,
    cuts=cuts,
    edits=st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from("wmr")), min_size=1),
    account=st.booleans(),
)
@profile
def test_what_others_did_since_is_named_and_not_lost(
    runs: list[list[Step]], cuts: list[int], edits: list[tuple[str, str]], account: bool
) -> None:
    with in_memory() as node:
        world = World(node)
        names = [world.apply(run) for run in runs]
        node.begin(last := world.name())
        node.good("end", last, "ok")
        before = world.state()
        mine = {}
        for n, (name, how) in enumerate(edits):
            path = node.files / name
            if not path.parent.is_dir() or path.parent.is_symlink() or path.is_symlink():
                continue
            if how == "w" and not path.is_dir():
                path.write_text(f"mine {n}")
                mine[path] = f"mine {n}"
            elif how == "m" and path.exists():
                path.chmod(0o711)
            elif how == "r" and path.is_file():
                path.unlink()
                mine.pop(path, None)
        if account:
            copy_of(node, "passwd", {"daemon:": "carol:x:990:990::/:/bin/sh\ndaemon:"})
        edited = world.state()
        expected = set()
        step_files = sorted((node.runs / names[-1]).glob("[0-9]*/items"))
        touched: dict[str, Path] = {}
        for items in step_files:
            for at, line in enumerate(items.read_text().splitlines(), 1):
                touched.setdefault(line.partition("\t")[2], items.parent / f"{at}.was")
        for path in touched:
            if edited.get(path) != before.get(path) and path != "-":
                expected.add(path)
        told = {row[0].removeprefix("file ") for row in node.conflicts(names[-1])}
        allowed = {
            path for path in expected if edited.get(path) is None or path not in map(str, mine)
        }
        note(f"told {told}, expected {expected}")
        assert told <= expected
        assert expected - told <= allowed  # a mode, or being gone, may be what it was before
        for name in reversed(names):
            by = world.name()
            node.begin(by)
            node.call("revert", name, by, "", "", "0")
            node.good("end", by, "ok")
            world.grown()
        for path, text in mine.items():
            places = [path, *(p for p in node.runs.glob("*/kept/**/*") if p.is_file())]
            assert any(p.is_file() and p.read_text() == text for p in places), path
        assert not account or "carol:" in (node.etc / "passwd").read_text()


@given(
    run=st.lists(st.tuples(steps, st.booleans(), st.booleans()), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 200), max_size=3),
    cut_confirm=st.just(0) | st.integers(1, 40),
    end=st.sampled_from(["timer", "restart", "next run", "controller"]),
)
@profile
def test_what_nobody_confirmed_is_taken_back(
    run: list[tuple[Step, bool, bool]], cuts: list[int], cut_confirm: int, end: str
) -> None:
    """Each step is guarded or not, and confirmed or not; the last confirmation may be cut off."""
    with in_memory() as node:
        world = World(node)
        name = world.name()
        node.begin(name)
        stays = world.state()
        for step, confirmed, died in run:
            done = world.step(
                name, Step(step.becomes, step.accounts, step.cut * died, 0, step.backwards, 180)
            )
            if not done:
                break
            if confirmed:
                end_after(node, cut_confirm)
                code = node.call("confirm", name).returncode
                end_after(node, 0)
                if code == 0 or (node.runs / name / "confirmed").exists():
                    stays = world.state()
                if code != 0:
                    break
        was_armed = (node.folder / "lib/armed").exists()
        if end == "restart":
            for path in (node.folder / "run").iterdir():
                path.unlink()
            (node.folder / "run").rmdir()
        for cut in cuts:
            end_after(node, cut)
            node.call("expire", name, "too-late")
            end_after(node, 0)
        if end == "next run":
            if (node.folder / "run/owner").exists():
                node.dead()
            node.begin(world.name())
        else:
            assert node.call("expire", name, "too-late").returncode == 0
        if was_armed:
            assert clean(world.state()) == clean(stays)
        assert not (node.folder / "lib/armed").exists()
        assert node.result(name) in ("taken-back", "interrupted", "")
