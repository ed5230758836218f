"""The fault campaign's own arithmetic: what it plans by a seed, and what it says at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults import aftermath, campaign
from tests.faults.bench import NODE, Bench
from tests.faults.campaign import CHAIN, Campaign, Outcome, Task, line, summary, tasks
from tests.faults.kinds import KINDS
from tests.support import Done


def test_a_campaign_is_at_least_sixty_faults_of_twelve_kinds() -> None:
    chains = tasks(1, 66, list(KINDS), 6)
    planned = [task for chain in chains for task in chain]
    assert [task.number for task in planned] == list(range(1, 67))
    assert {task.kind for task in planned} == set(KINDS)
    assert len(KINDS) >= 12
    assert sum(task.full for task in planned) == 6
    assert any(len(chain) > 1 for chain in chains)
    assert all(len(chain) <= CHAIN and not chain[0].chained for chain in chains)


def test_a_seed_decides_everything() -> None:
    assert tasks(7, 20, list(KINDS), 2) == tasks(7, 20, list(KINDS), 2)
    assert tasks(7, 20, list(KINDS), 2) != tasks(8, 20, list(KINDS), 2)


def test_last_line_counts_faults_kinds_and_losses() -> None:
    task = Task(1, "reboot", 0)
    outcomes = [Outcome(task), Outcome(task, lost="a file"), Outcome(Task(2, "oom_kill", 0))]
    assert summary(outcomes) == "3 faults of 2 kinds, 1 lost"
    assert "LOST: a file" in line(outcomes[1])


def _bench(tmp_path: Path) -> Bench:
    return Bench("none", None, tmp_path)


NOTHING = f'{{"nodes": [{{"name": "{NODE}", "reason": "%s", "changes": [], "checks": []}}]}}'


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (Done(2, NOTHING % "why", ""), "ended with 2: why"),
        (Done(1, NOTHING % "", ""), "no reason"),
        (Done(1, NOTHING % "why", "Traceback (most recent call last)"), "traceback"),
    ],
)
def test_an_apply_that_ends_badly_is_a_loss(tmp_path: Path, done: Done, said: str) -> None:
    with pytest.raises(aftermath.Lost, match=said):
        aftermath.Aftermath(_bench(tmp_path), tmp_path).struck(done, (0, 1))


@pytest.mark.parametrize(
    ("codes", "said"),
    [((1, 0, 0), "next apply: 1"), ((0, 5, 0), "second apply"), ((0, 0, 1), "verify")],
)
def test_what_does_not_converge_is_a_loss(
    tmp_path: Path, codes: tuple[int, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(codes)
    monkeypatch.setattr(
        aftermath, "nodeproof", lambda *words: Done(left.pop(0), NOTHING % "why", "")
    )
    with pytest.raises(aftermath.Lost, match=said):
        aftermath.Aftermath(_bench(tmp_path), tmp_path).converges()


def test_what_is_left_or_changed_is_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after = aftermath.Aftermath(_bench(tmp_path), tmp_path)
    monkeypatch.setattr(Bench, "root", lambda self, script, **options: "/run/nodeproof.1\n")
    with pytest.raises(aftermath.Lost, match=r"left behind: /run/nodeproof\.1"):
        after.clean()
    with pytest.raises(aftermath.Lost, match="user files differ"):
        after.whole("something else")
    with pytest.raises(aftermath.Lost, match="no access for 300 s"):
        after.access(300, "refused")


def test_a_worker_that_cannot_go_on_is_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*words: object, **options: object) -> Bench:
        raise OSError("no machine")

    monkeypatch.setattr(campaign, "made", broken)
    said: list[str] = []
    outcomes = Campaign(1, tmp_path, say=said.append).run([[Task(1, "reboot", 0)]], workers=1)
    assert [outcome.lost for outcome in outcomes] == ["OSError('no machine')"]
    assert "LOST" in said[0]


def test_a_campaign_goes_on_where_it_was_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found stays; of a chain, the first fault that is left begins on a reset machine."""
    made: list[Task] = []

    def fault(self: Campaign, bench: Bench, task: Task) -> Outcome:
        made.append(task)
        outcome = Outcome(task, lost="gone" if task.number == 1 else "", evidence=tmp_path)
        self._add(outcome)
        if task.number == 1:
            self.until = 0.0
        return outcome

    monkeypatch.setattr(Campaign, "_fault", fault)
    monkeypatch.setattr(Campaign, "_bench", lambda *words, **options: None)
    chains = [[Task(1, "reboot", 5)], [Task(2, "reboot", 6), Task(3, "oom_kill", 7, chained=True)]]
    for part in (chains[:1], chains):
        one = Campaign(1, tmp_path, say=lambda text: None)
        one.resume()
        outcomes = one.run(part, workers=1)
    assert made == [chains[0][0], *chains[1]]
    assert [outcome.lost for outcome in outcomes] == ["gone", "", ""]
    assert summary(outcomes) == "3 faults of 2 kinds, 1 lost"
    (left,) = [Task(4, "reboot", 8, chained=True)]
    again = Campaign(1, tmp_path, say=lambda text: None)
    again.resume()
    again.run([[chains[1][1], left]], workers=1)
    assert made[-1] == Task(4, "reboot", 8)
