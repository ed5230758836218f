"""The runner of the documentation's commands sees what is not as written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs_commands import Tier, steps
from tests.docs_runner import run

PAGE = "docs/x.md"


def page(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that is the only one below `folder`."""
    path = folder / PAGE
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setattr("tests.docs_commands.ROOT", folder)
    return path


GOOD = """
<!-- run: local -->
<!-- file: a/b.txt -->
```text
12 lines
```

```console
$ cat a/b.txt
34 lines
$ cd a && \\
    ls
b.txt
$ seq 3
1
...
$ false
$ echo $?
1
$ read -p "Sure? [y/N]: " said; echo "said $said"
...said y
$ cat a/b.txt 2>&1
...No such file...
$ echo $?
1
```
"""

BAD = {
    "other output": ("$ echo one\ntwo\n", "printed:\none"),
    "less output": ("$ echo one\none\ntwo\n", "printed:\none"),
    "exit code": ("$ false\n", "ended with 1"),
    "exit code shown": ("$ false\n$ echo $?\n0\n$ true\n", r"\$\? is 1"),
    "not reached": ("$ false\n$ true\n", "ended with 1"),
}


def test_a_page_that_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(steps(page(tmp_path / "docs", GOOD, monkeypatch)))
    assert {step.tier for step in found} == {Tier.LOCAL}
    run(found, tmp_path, seconds=30)


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_as_written_is_seen(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, message = BAD[case]
    wrong = page(tmp_path / "docs", f"<!-- run: local -->\n```console\n{text}```\n", monkeypatch)
    with pytest.raises(AssertionError, match=message):
        run(list(steps(wrong)), tmp_path, seconds=30)
