"""The fault campaign: python -m tests.faults --seed N."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from tests.faults.campaign import Campaign, line, summary, tasks
from tests.faults.kinds import KINDS


def main() -> int:
    """Run the campaign that the command line asks for; 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--count", type=int, default=66, help="how many faults")
    parser.add_argument("--full", type=int, default=6, help="how many of them over a full apply")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which, separated by commas")
    parser.add_argument("--distribution", default="debian-13")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e6, help="when to begin no other fault")
    parser.add_argument("--resume", action="store_true", help="go on with this seed's campaign")
    parser.add_argument("--keep", action="store_true", help="keep the machines for the next time")
    parser.add_argument("--containers", action="store_true", help="container nodes: quick, few")
    asked = parser.parse_args()
    kinds = asked.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if asked.containers:
        kinds = [kind for kind in kinds if not KINDS[kind].kernel]
        asked.full = 0
    folder = Path("reports", "faults", str(asked.seed)).absolute()
    # Whoever starts us in the background may have it ignored; those we start must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["NODEPROOF_STATE_DIR"] = str(folder / "state")
    print(f"seed {asked.seed}, evidence in {folder}", flush=True)  # noqa: T201
    campaign = Campaign(
        asked.seed,
        folder,
        asked.distribution,
        keep=asked.keep,
        container=asked.containers,
        until=time.monotonic() + asked.minutes * 60,
        say=lambda text: print(text, flush=True),  # noqa: T201
    )
    if asked.resume:
        campaign.resume()
    began = time.monotonic()
    outcomes = campaign.run(tasks(asked.seed, asked.count, kinds, asked.full), asked.workers)
    print(f"\nAll, after {(time.monotonic() - began) / 60:.0f} minutes:")  # noqa: T201
    for outcome in outcomes:
        print(line(outcome))  # noqa: T201
    print(summary(outcomes))  # noqa: T201
    return int(any(outcome.lost for outcome in outcomes) or len(outcomes) < asked.count)


if __name__ == "__main__":
    sys.exit(main())
