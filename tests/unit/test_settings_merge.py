"""Data of all, of groups and of a host come together key by key; nearer wins."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeproof.catalog.resolve.asked import Disagreement, FromNvidia, OfAccelerators, joined
from nodeproof.engine.adapter.inventory import host_data, load
from nodeproof.engine.fingerprint import fingerprint
from nodeproof.layers.gpu.settings import Settings as Gpu
from nodeproof.layers.ssh.settings import Settings as Ssh
from nodeproof.settings import setting
from nodeproof.settings.site import merged, validate


@pytest.mark.parametrize(
    ("datas", "wanted"),
    [
        ([], {}),
        ([{}, {}], {}),
        ([{"a": 1}, {"a": 2}], {"a": 2}),
        ([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ([{"a": {"b": 1, "c": 1}}, {"a": {"c": 2}}], {"a": {"b": 1, "c": 2}}),
        ([{"a": {"b": {"c": 1}}}, {"a": {"b": {"d": 2}}}], {"a": {"b": {"c": 1, "d": 2}}}),
        ([{"a": [1, 2]}, {"a": [3]}], {"a": [3]}),
        ([{"a": [1]}, {"a": []}], {"a": []}),
        ([{"a": {"b": 1}}, {"a": None}], {"a": None}),
        ([{"a": None}, {"a": {"b": 1}}], {"a": {"b": 1}}),
        ([{"a": {"b": 1}}, {"a": None}, {"a": {"c": 2}}], {"a": {"c": 2}}),
        ([{"a": {"b": 1}}, {"a": {}}], {"a": {"b": 1}}),
        ([{"a": {"b": 1}}, {"a": 5}], {"a": 5}),
        ([{"a": 5}, {"a": {"b": 1}}], {"a": {"b": 1}}),
        ([{"a": {"b": 1}}, {"a": {"b": None}}], {"a": {"b": None}}),
        ([{"a": 1}, {"a": False}], {"a": False}),
    ],
)
def test_nearer_wins_key_by_key(datas: list[dict[str, Any]], wanted: dict[str, Any]) -> None:
    before = deepcopy(datas)
    assert merged(datas) == wanted
    assert datas == before


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2),
    lambda children: st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=10,
)
data = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


@given(data, data, data)
def test_data_are_the_inner_ones_over_the_outer_ones(
    outer: dict[str, Any], middle: dict[str, Any], inner: dict[str, Any]
) -> None:
    whole = merged([outer, middle, inner])
    assert whole == merged([merged([outer, middle]), inner])
    assert merged([whole, {}]) == merged([{}, whole]) == merged([whole, whole]) == whole
    assert whole.keys() == outer.keys() | middle.keys() | inner.keys()
    assert all(whole[key] == value for key, value in inner.items() if not isinstance(value, dict))


def site(folder: Path, inventory: str, **group_data: str) -> str:
    (folder / "group_data").mkdir()
    for group, text in group_data.items():
        (folder / "group_data" / f"{group}.py").write_text(text)
    path = folder / "site.py"
    path.write_text(inventory)
    return str(path)


def test_all_then_groups_then_host(tmp_path: Path) -> None:
    source = site(
        tmp_path,
        "gpu = ['a', ('b', {'ssh': {'max_sessions': 30}, 'system': None})]\ncpu = ['c']\n",
        all="ssh = {'max_sessions': 10, 'max_auth_tries': 3, 'allow_users': ['ops', 'root']}\n"
        "system = {'packages': ['rsync', 'curl']}\n",
        gpu="ssh = {'max_sessions': 20, 'allow_users': ['ops']}\n"
        "system = {'packages': ['numactl']}\n",
    )
    asked = load(source).settings
    ssh = {name: one.layers["ssh"].model_dump() for name, one in asked.items()}
    assert {name: one["max_sessions"] for name, one in ssh.items()} == {"a": 20, "b": 30, "c": 10}
    assert {one["max_auth_tries"] for one in ssh.values()} == {3}
    assert ssh["b"]["allow_users"] == ["ops"]
    assert ssh["c"]["allow_users"] == ["ops", "root"]
    assert asked["a"].layers["system"].model_dump()["packages"] == ["numactl"]
    assert "system" not in asked["b"].layers
    assert list(asked["a"].layers) == ["system", "ssh"]


def test_group_data_in_the_inventory_file(tmp_path: Path) -> None:
    source = site(
        tmp_path,
        "gpu = (['a', ('b', {'ssh_port': 24})], {'ssh_port': 23, 'ssh': {'max_sessions': 7}})\n",
        all="ssh_port = 22\nssh_user = 'ops'\n",
    )
    fleet = load(source)
    a, b = (host_data(host) for host in fleet.hosts)
    assert (a["ssh_port"], b["ssh_port"], b["ssh_user"]) == (23, 24, "ops")
    assert fleet.settings["b"].layers["ssh"].model_dump()["max_sessions"] == 7


def test_digest_tells_settings_apart_and_nothing_else() -> None:
    def digest(**data: Any) -> str:
        return fingerprint(validate("x", {"node1": data})["node1"].layers, [], []).hash

    plain = digest(ssh={}, system={})
    assert digest(system={}, ssh={}) == plain
    assert digest(ssh={"max_sessions": 10}, system={}) == plain  # the default
    assert digest(ssh={}, system={}, x_rack=7, ssh_port=23) == plain
    assert len({plain, digest(), digest(ssh={}), digest(ssh={"max_sessions": 11}, system={})}) == 4
    alice, bob = {"alice": {}}, {"bob": {}}
    assert digest(system={"users": alice | bob}) == digest(system={"users": bob | alice})


class Toolkits(OfAccelerators):
    """A layer that asks for toolkits only."""

    versions: list[str] = setting([], "releases")

    def asks(self) -> dict[str, Any]:
        return {"cuda": self.versions}


def test_layers_ask_of_accelerators_together() -> None:
    gpu, cuda = Gpu(driver="580"), Toolkits(versions=["13"])
    asked = joined([gpu, Ssh(), cuda])
    assert (asked.driver, asked.cuda) == ("580", ["13"])
    assert gpu.asked is cuda.asked is asked


def test_no_driver_is_asked_for_without_the_gpu_layer() -> None:
    assert joined([Toolkits(versions=["13"])]).driver == "none"
    assert Toolkits(versions=["13"]).asked.cuda == ["13"]
    assert Gpu().asked.driver == "lts"


MIRROR = "https://mirror.example/debian12/"


class Vendors(FromNvidia):
    """A layer that says where NVIDIA's packages come from, and no more."""


def test_what_one_layer_says_of_the_repository_is_said_for_all() -> None:
    for layers in (
        [Gpu(repository_uri=MIRROR), Vendors()],
        [Gpu(), Vendors(repository_uri=MIRROR)],
    ):
        assert joined(layers).repository_uri == MIRROR
        assert {one.asked.repository_uri for one in layers} == {MIRROR}


def test_layers_do_not_ask_for_two_repositories() -> None:
    with pytest.raises(Disagreement, match="repository_uri"):
        joined([Gpu(repository_uri=MIRROR), Vendors(repository_uri="http://other.example/")])


def test_a_site_joins_its_layers() -> None:
    site = validate("inventory", {"a": {"gpu": {"driver": "580"}, "ssh": {}}})
    gpu = site["a"].layers["gpu"]
    assert isinstance(gpu, Gpu)
    assert gpu.asked.driver == "580"
