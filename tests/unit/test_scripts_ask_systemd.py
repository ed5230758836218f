"""The script that asks systemd again: where it hung up, and only there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nodeproof.operations.systemd import asked

HUNG_UP = "Failed to restart it.service: Transport endpoint is not connected"
FAILED = "Job for it.service failed because the control process exited with error code."
TOO_OFTEN = "Job for it.service failed because start of the service was attempted too often."
SYSTEMCTL = """#!/bin/sh
[ "$1" != reset-failed ] || {{ echo "$3" >>{folder}/forgiven; exit 0; }}
printf '%s\\n' "$*" >>{folder}/told
[ $(wc -l <{folder}/told) -gt {times} ] || {{ echo "{said}" >&2; exit 3; }}
"""


@pytest.mark.parametrize(
    ("said", "times", "code", "told"),
    [
        pytest.param("", 0, 0, 1, id="it did it"),
        pytest.param(HUNG_UP, 3, 0, 4, id="it hung up three times"),
        pytest.param(HUNG_UP, 99, 3, 21, id="it hangs up for ever"),
        pytest.param(FAILED, 1, 3, 1, id="the unit fails"),
        pytest.param(TOO_OFTEN, 1, 0, 2, id="it was started too often"),
        pytest.param(TOO_OFTEN, 99, 3, 2, id="it is started too often for ever"),
    ],
)
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_asked_again(
    tmp_path: Path, shell: str, said: str, times: int, code: int, told: int
) -> None:
    for name, text in (
        ("systemctl", SYSTEMCTL.format(folder=tmp_path, times=times, said=said)),
        ("sleep", "#!/bin/sh\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    command = asked("restart", "it's.service").get_raw_value()
    done = subprocess.run(
        [shell, "-c", command],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr == (f"{said}\n" if code else "")
    assert (tmp_path / "told").read_text() == "restart -- it's.service\n" * told
    forgiven = tmp_path / "forgiven"
    assert forgiven.exists() is (said == TOO_OFTEN)
    assert not forgiven.exists() or forgiven.read_text() == "it's.service\n"


def test_a_plan_shows_what_is_asked() -> None:
    assert (
        asked("reload", "it's.service").get_masked_value()
        == "systemctl reload -- 'it'\"'\"'s.service'"
    )
