"""The judges: python -m tests.judges."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodeproof.engine.adapter import prepare_process
from nodeproof.lab import Lab, containers
from tests.judges import judge
from tests.judges.content import packages
from tests.judges.judge import Verdict
from tests.judges.site import LEFT_OUT_ON_CONTAINERS, SITE
from tests.support import nodeproof, write_inventory

NODE = "judged"
EXCEPTIONS = Path(__file__).with_name("exceptions.toml")
JUDGES = ("cis-1", "cis-2", "lynis", "ssh-audit")


def main() -> int:
    """Judge a fresh node, apply, judge again; 1 where a finding has no recorded reason."""
    prepare_process()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.judges", description=__doc__)
    parser.add_argument("--distribution", default="debian-13")
    parser.add_argument("--containers", action="store_true", help="a container node: quick, partly")
    parser.add_argument("--judges", default=",".join(JUDGES), help="which, separated by commas")
    parser.add_argument("--only-after", action="store_true", help="do not judge the fresh node")
    asked = parser.parse_args()
    wanted = asked.judges.split(",")
    if unknown := set(wanted) - set(JUDGES):
        parser.error(f"no such judge: {', '.join(sorted(unknown))}; there are {', '.join(JUDGES)}")
    folder = Path("reports", "judges", asked.distribution).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    site = {
        layer: said
        for layer, said in SITE.items()
        if not (asked.containers and layer in LEFT_OUT_ON_CONTAINERS)
    }
    with _node(asked.distribution, container=asked.containers) as node:
        judge.prepare(node, packages())
        before = [] if asked.only_after else _judged(node, asked.distribution, wanted)
        inventory = write_inventory(folder, [node], site)
        began = time.monotonic()
        done = nodeproof("apply", inventory, "--yes", "--json")
        (folder / "apply.json").write_text(done.out)
        if done.code != 0:
            _say(done.out[-2000:] + done.err[-2000:])
            return 1
        _say(f"applied in {time.monotonic() - began:.0f} s: {len(done.changed(NODE))} changes")
        after = _judged(node, asked.distribution, wanted)
    for when, verdicts in (("before", before), ("after", after)):
        for verdict in verdicts:
            name = f"{when}-{verdict.judge.lower().replace(' ', '-')}"
            (folder / f"{name}.txt").write_text(verdict.said)
    return _told(before, after)


@contextmanager
def _node(distribution: str, *, container: bool) -> Iterator[Any]:
    if container:
        # Most rules ask whether a kernel is installed before they judge anything.
        with containers([NODE], distribution, preinstall=["linux-image-cloud-amd64"]) as nodes:
            yield nodes[0]
        return
    lab = Lab(f"judges-{distribution}")
    if lab.machines():
        lab.down(purge=True)
    try:
        yield lab.up([NODE], distribution=distribution)[0]
    finally:
        lab.down(purge=True)


def _judged(node: Any, distribution: str, wanted: list[str]) -> list[Verdict]:
    found = []
    for name in wanted:
        began = time.monotonic()
        if name.startswith("cis-"):
            verdict = judge.openscap(node, distribution, int(name[-1]))
        else:
            verdict = judge.lynis(node) if name == "lynis" else judge.ssh_audit(node)
        _say(f"  {verdict.judge}: {verdict.score} ({time.monotonic() - began:.0f} s)")
        found.append(verdict)
    return found


def _told(before: list[Verdict], after: list[Verdict]) -> int:
    """Say what is held against the node, each with its reason, then the scores."""
    reasons: dict[str, str] = tomllib.loads(EXCEPTIONS.read_text())
    bare = 0
    for verdict in after:
        _say(f"\n{verdict.judge}")
        for finding in verdict.failing:
            reason = reasons.get(finding.split()[0], "")
            bare += not reason
            _say(f"  {finding}\n      {reason or 'NO REASON RECORDED'}")
    was = {verdict.judge: verdict.score for verdict in before}
    _say("")
    for verdict in after:
        earlier = was.get(verdict.judge, "not asked")
        _say(f"{verdict.judge} {verdict.score}  (was {earlier}; {verdict.detail})")
    if bare:
        _say(f"{bare} findings without a recorded reason")
    return int(bool(bare))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
