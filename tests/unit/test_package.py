"""What is released: whole, alone under one name, and working outside a checkout."""

from __future__ import annotations

import email.parser
import fcntl
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import nodeproof
from nodeproof.errors import Exit
from nodeproof.layers import LAYER_NAMES
from nodeproof.resources import CHECKOUT

SHIPPED = ("templates", "deploys", "inventories")
SOURCE = CHECKOUT / "src" / "nodeproof"

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "pyproject.toml").exists(), reason="needs a checkout"
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build sdist, and the wheel from the sdist, once for all of pytest's workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "dist"
    with (shared / "dist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("*.whl")):
            command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
            built = subprocess.run(
                command, cwd=CHECKOUT, capture_output=True, text=True, check=False
            )
            if "No module named build" in built.stderr:
                pytest.skip("python -m build is not installed here")
            assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


def tracked(*folders: str) -> set[str]:
    """Return the files of a checkout that are meant to be there, without those made by running."""
    return {
        str(path.relative_to(CHECKOUT))
        for folder in folders
        for path in (CHECKOUT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_has_one_name(wheel: zipfile.ZipFile) -> None:
    names = {name.partition("/")[0] for name in wheel.namelist()}
    assert names == {"nodeproof", f"nodeproof-{nodeproof.__version__}.dist-info"}


def test_wheel_has_every_module_and_its_data(wheel: zipfile.ZipFile) -> None:
    wanted = {name.removeprefix("src/") for name in tracked("src/nodeproof")}
    assert wanted <= {*wheel.namelist()}
    assert "nodeproof/py.typed" in wanted
    assert {f"nodeproof/layers/{name}/checks.py" for name in LAYER_NAMES} <= wanted
    kinds = {Path(name).suffix for name in wanted}
    assert {".py", ".toml", ".json"} <= kinds


@pytest.mark.parametrize("folder", SHIPPED)
def test_wheel_has_what_is_beside_the_code(wheel: zipfile.ZipFile, folder: str) -> None:
    wanted = {f"nodeproof/{name}" for name in tracked(folder)}
    assert wanted
    assert wanted <= {*wheel.namelist()}


def test_wheel_has_nothing_else(wheel: zipfile.ZipFile) -> None:
    known = {name.removeprefix("src/") for name in tracked("src/nodeproof")}
    known |= {f"nodeproof/{name}" for name in tracked(*SHIPPED)}
    extra = {name for name in wheel.namelist() if name not in known and ".dist-info/" not in name}
    assert not extra
    assert not [
        name for name in wheel.namelist() if re.search(r"__pycache__|\.pyc|(^|/)test_", name)
    ]


def test_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    info = f"nodeproof-{nodeproof.__version__}.dist-info"
    metadata = email.parser.Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["Name"] == "nodeproof"
    assert metadata["Version"] == nodeproof.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "# nodeproof" in str(metadata.get_payload())
    needed = {re.split(r"[^\w.-]", one)[0] for one in metadata.get_all("Requires-Dist") or []}
    assert {"pyinfra", "pytest-testinfra", "click", "jinja2", "pydantic", "rich"} <= needed
    assert "hatchling" not in needed
    entries = wheel.read(f"{info}/entry_points.txt").decode().split("\n")
    assert entries == ["[console_scripts]", "nodeproof = nodeproof.__main__:main", ""]
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_every_import_is_a_declared_dependency(wheel: zipfile.ZipFile) -> None:
    """What a wheel imports and does not require works only where something else brings it."""
    declared = {
        "click": "click", "jinja2": "jinja2", "packaging": "packaging", "pydantic": "pydantic",
        "pyinfra": "pyinfra", "pytest": "pytest", "rich": "rich",
        "tomlkit": "tomlkit", "typing_extensions": "typing-extensions",
        "testinfra": "pytest-testinfra",
    }  # fmt: skip
    carried = {"gevent", "paramiko", "pyinfra_cli", "pydantic_core", "markupsafe"}
    """By pyinfra, pydantic and Jinja, which cannot be without them."""
    imported = set()
    # What runs elsewhere: deploy files, and programs in the Python of a node's dnf.
    elsewhere = (*(f"nodeproof/{folder}/" for folder in SHIPPED), "nodeproof/scripts/dnf-")
    for name in wheel.namelist():
        if name.endswith(".py") and not name.startswith(elsewhere):
            text = wheel.read(name).decode()
            imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    foreign = imported - {"nodeproof"} - set(sys.stdlib_module_names)
    assert foreign - carried <= declared.keys(), "declare it in pyproject.toml"


def test_sdist_is_enough_to_build_and_read(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = tracked("src/nodeproof", *SHIPPED)
    wanted |= {
        "pyproject.toml",
        "hatch_build.py",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "PKG-INFO",
    }
    assert wanted <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


# In an environment of its own


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel beside its dependencies, where no checkout is to be found."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    # A path in a .pth file is added without reading the .pth files in it, so the checkout that
    # this interpreter has installed editable stays out.
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (wheel,) = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return folder / "bin" / "nodeproof"


def run(
    installed: Path, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    keep = ("PATH", "HOME", "NODEPROOF_STATE_DIR", "LANG")
    return subprocess.run(
        [str(installed), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**{key: os.environ[key] for key in keep if key in os.environ}, **environment},
        timeout=120,
    )


def test_it_is_the_wheel_that_runs(installed: Path, tmp_path: Path) -> None:
    script = (
        "import nodeproof; from nodeproof.resources import shipped; "
        "print(nodeproof.__file__, shipped('deploys'))"
    )
    done = subprocess.run(
        [str(installed.with_name("python")), "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for path in done.stdout.split():
        assert Path(path).is_relative_to(installed.parents[1])


def test_version(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"nodeproof {nodeproof.__version__}\n")


def test_settings(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "settings", "--json")
    assert done.returncode == 0
    assert {key["key"].split(".")[0] for key in json.loads(done.stdout)} == {*LAYER_NAMES}


def test_init_then_plan(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "init", "x").returncode == 0
    inventory = tmp_path / "x" / "inventory.py"
    text = inventory.read_text()
    inventory.write_text(re.sub(r'"192\.0\.2\.\d+"', '"127.0.0.1", "ssh_port": 1', text))
    for command in ("plan", "verify"):
        done = run(installed, tmp_path, command, "x/inventory.py", "--json")
        assert done.returncode == Exit.UNREACHABLE, done.stderr
        nodes = json.loads(done.stdout)["nodes"]
        assert [node["reason"] for node in nodes] == ["connection refused"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as a node does")
def test_inspect_this_machine(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "inspect", "@local", "--json")
    assert done.returncode == 0, done.stderr
    (node,) = json.loads(done.stdout)["nodes"]
    assert node["facts"]["uid"] == 0
    assert node["facts"]["kernel"] == os.uname().release


@pytest.mark.parametrize("form", ["text", "html", "junit", "json"])
def test_reports(installed: Path, tmp_path: Path, form: str) -> None:
    """Reports have templates and a style of their own, which must be in the wheel."""
    state = str(tmp_path / "state")
    run(installed, tmp_path, "plan", "127.0.0.1", "--json", NODEPROOF_STATE_DIR=state)
    done = run(
        installed, tmp_path, "report", "--format", form, "--out", "out", NODEPROOF_STATE_DIR=state
    )
    assert done.returncode == Exit.UNREACHABLE, done.stderr
    assert "127.0.0.1" in (tmp_path / "out").read_text()


def test_plain_pyinfra_finds_the_deploys(installed: Path, tmp_path: Path) -> None:
    (deploys,) = installed.parents[1].glob("lib/python3*/site-packages/nodeproof/deploys")
    script = (
        "from importlib.metadata import entry_points as found; "
        "(main,) = found(group='console_scripts', name='pyinfra'); main.load()()"
    )
    (tmp_path / "hosts.py").write_text("nodes = [('@fake/a', {'ssh': {'max_sesions': 1}})]\n")
    done = subprocess.run(
        [
            str(installed.with_name("python")),
            *("-c", script, "hosts.py", str(deploys / "ssh.py"), "--dry", "-y"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYINFRA_FAKE_DELAY": "0"},
    )
    assert done.returncode != 0
    assert "ssh.max_sesions: unknown key" in done.stdout + done.stderr
