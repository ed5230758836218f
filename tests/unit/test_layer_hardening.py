"""The hardening layer: what is asked for at each level, and what is refused before any change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError, OperationError
from pyinfra.context import ctx_host

from nodeproof.catalog.hardening.decide import exemptions, values
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.shadow import PasswordData, Shadow
from nodeproof.facts.systemd import UnitData
from nodeproof.facts.users import AccountData, Accounts, AccountsData
from nodeproof.layers.hardening.accounts_deploy import keep_a_way_in
from nodeproof.layers.hardening.facts import Loose, LooseHomes, Units
from nodeproof.layers.hardening.operations import (
    ageing,
    restricted,
    services_masked,
    system_accounts,
    tight_homes,
)
from nodeproof.layers.hardening.pam_profiles import profiles
from nodeproof.layers.hardening.settings import Settings

LOGIN = NodeFacts(login_user="ops")
SET = PasswordData("set", "y", age=10, min_days=0, max_days=365, warn_days=7, inactive_days=45)


def account(name: str, uid: int, shell: str = "/bin/bash") -> AccountData:
    return AccountData(name, uid, name, f"/home/{name}", shell)


class Node:
    """A node that answers for facts and listens to no-operations."""

    name = "node1"

    def __init__(
        self,
        shadow: Mapping[str, PasswordData],
        *accounts: AccountData,
        loose: list[Loose] | None = None,
    ) -> None:
        users = {one.name: one for one in accounts}
        self.known: dict[type, Any] = {
            Shadow: dict(shadow),
            Accounts: AccountsData(users),
            LooseHomes: loose or [],
        }
        self.noops: list[str] = []

    def get_fact(self, fact: type, **_: Any) -> Any:
        return self.known[fact]

    def noop(self, reason: str) -> None:
        self.noops.append(reason)


def refused(node: Node, **asked: Any) -> str:
    with ctx_host.use(node), pytest.raises(DeployError) as caught:
        keep_a_way_in(Settings.model_validate(asked), LOGIN)
    return str(caught.value)


def accepted(node: Node, **asked: Any) -> None:
    with ctx_host.use(node):
        keep_a_way_in(Settings.model_validate(asked), LOGIN)


def commands(node: Node, operation: Any, **arguments: Any) -> list[str]:
    with ctx_host.use(node):
        return [str(one) for one in operation._inner(**arguments)]


# Refused before the first change


@pytest.mark.parametrize(
    "mine",
    [
        PasswordData("set", "y", age=400, max_days=365),
        PasswordData("set", "y", age=0, changed=0),
        PasswordData("locked", left=-1),
        PasswordData("locked", left=0),
    ],
    ids=["old", "must be changed", "account gone", "account ends today"],
)
def test_who_connects_must_not_have_expired(mine: PasswordData) -> None:
    assert "ops, who connects" in refused(Node({"ops": mine}, account("ops", 1000)))
    accepted(Node({"ops": mine}, account("ops", 1000)), topics=["sudo"])


@pytest.mark.parametrize(
    "mine",
    [PasswordData("locked", age=9000), PasswordData("set", "y", age=9000, max_days=99999)],
    ids=["no password", "an old one"],
)
def test_who_connects_may_have_no_password_or_an_old_one(mine: PasswordData) -> None:
    accepted(Node({"ops": mine}, account("ops", 1000)))


def test_an_empty_password_is_refused_where_it_lets_somebody_in() -> None:
    eve = {"eve": PasswordData("empty")}
    assert "eve would be locked out" in refused(Node(eve, account("eve", 1001)))
    accepted(Node(eve, account("eve", 1001, "/usr/sbin/nologin")))


def test_a_password_that_would_expire_at_once_is_refused() -> None:
    old = {"alice": PasswordData("set", "y", age=400, max_days=99999)}
    node = Node(old, account("alice", 1001))
    assert "the passwords of alice are older" in refused(node)
    accepted(node, ageing={"never": ["alice"]})
    accepted(node, ageing={"max_days": 400})
    accepted(Node({"alice": PasswordData("set", "y", age=400, max_days=365)}, account("alice", 1)))


# Levels


def test_root_is_locked_at_level_2() -> None:
    assert "root_unlock_time" in Settings(level=2).faillock()
    assert Settings(level=2).faillock()["even_deny_root"] == ""
    assert Settings().faillock()["even_deny_root"] is None
    assert Settings.model_validate({"lockout": {"root": True}}).locks_root
    assert not Settings.model_validate({"level": 2, "lockout": {"root": False}}).locks_root


def test_passwords_may_not_be_changed_twice_a_day_at_level_2() -> None:
    assert (Settings().min_days, Settings(level=2).min_days) == (0, 1)
    assert Settings.model_validate({"level": 2, "ageing": {"min_days": 0}}).min_days == 0


@pytest.mark.parametrize("level", [0, 3, "1", 1.0, True])
def test_there_are_two_levels(level: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"level": level})


def test_fewer_classes_ask_for_no_class_in_particular() -> None:
    assert Settings().pwquality()["ocredit"] == "-1"
    three = Settings.model_validate({"passwords": {"min_classes": 3}}).pwquality()
    assert (three["minclass"], three["ocredit"]) == ("3", "0")


def test_profiles_stand_around_the_one_that_knows_passwords() -> None:
    """Unix has 256, pwquality 1024; the higher comes first, at one number the later letter."""
    numbers = {
        name: int(text.split("Priority: ")[1].split("\n")[0]) for name, text in profiles(24).items()
    }
    assert numbers["nodeproof-faillock"] < 256 < numbers["nodeproof-faillock-preauth"]
    assert 256 < numbers["nodeproof-pwhistory"] < 1024
    assert "remember=7 " in profiles(7)["nodeproof-pwhistory"]


# What is changed


def test_passwords_grow_old_but_those_named() -> None:
    shadow = {"alice": SET, "bob": PasswordData("set", "y"), "sys": PasswordData("locked")}
    asked = {"days": (0, 365, 7), "inactive": 45, "never": ["root"]}
    (command,) = commands(Node(shadow), ageing, **asked)
    assert command == "chage --mindays 0 --maxdays 365 --warndays 7 --inactive 45 -- bob"
    node = Node(shadow)
    assert commands(node, ageing, **{**asked, "never": ["bob"]}) == []
    assert node.noops


def test_every_account_gets_all_options() -> None:
    shadow = {"bob": PasswordData("set", "y"), "carol": PasswordData("set", "y")}
    found = commands(Node(shadow), ageing, days=(1, 2, 3), inactive=4, never=[])
    assert [one.replace("carol", "bob") for one in found] == [found[0]] * 2


def test_system_accounts_lose_shell_and_password() -> None:
    node = Node(
        {"postgres": PasswordData("set", "y"), "sync": PasswordData("locked")},
        *(account("root", 0), account("sync", 4, "/bin/sync"), account("alice", 1000)),
        *(account("postgres", 110), account("ops", 999), account("bin", 2, "/usr/sbin/nologin")),
    )
    assert commands(node, system_accounts, keep=["ops"]) == [
        "usermod --shell /usr/sbin/nologin -- postgres",
        "usermod --lock -- postgres",
    ]
    assert commands(node, system_accounts, keep=["ops", "postgres"]) == []


def test_homes_are_changed_as_their_owner() -> None:
    node = Node({}, loose=[Loose("alice", "/home/alice/.a b")])
    assert commands(node, tight_homes) == [
        "runuser -u alice -- chmod g-w,o-rwx -- '/home/alice/.a b'"
    ]
    assert commands(Node({}), tight_homes) == []


PACKAGED = (
    "# auth required pam_wheel.so\nauth       sufficient pam_rootok.so\n@include common-auth\n"
)


def test_su_asks_for_the_group_right_after_root() -> None:
    text = restricted(PACKAGED, "sugroup")
    assert text.splitlines()[2] == "auth       required   pam_wheel.so use_uid group=sugroup"
    assert restricted(text, "sugroup") == text
    other = restricted(text, "wheel")
    assert other.count("group=") == 1
    assert "group=wheel" in other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PACKAGED + "auth required pam_wheel.so deny group=nosu\n", "deny group=nosu"),
        ("@include common-auth\n", "no line for root"),
    ],
)
def test_su_of_somebody_elses_is_refused(text: str, message: str) -> None:
    with pytest.raises(OperationError, match=message):
        restricted(text, "sugroup")


# Services


def test_a_role_keeps_what_it_needs_and_says_why() -> None:
    plain = Settings().services_decided()
    assert {"rpcbind", "nginx", "cups"} <= values(plain).keys()
    assert not exemptions(plain)
    slurm = Settings.model_validate({"roles": ["slurm"]}).services_decided()
    assert {"rpcbind", "autofs", "nginx", "apache2"} == values(plain).keys() - values(slurm).keys()
    (why,) = (one for one in exemptions(slurm) if one.parameter == "rpcbind")
    assert why.roles == ("slurm",)
    assert why.reason
    assert why.compensation


def test_who_keeps_a_service_or_client_makes_an_exception() -> None:
    asked = {"services": {"keep": ["cups"], "keep_packages": ["ldap-utils"]}}
    settings = Settings.model_validate(asked)
    assert [one.parameter for one in exemptions(settings.services_decided())] == ["cups"]
    assert [one.parameter for one in exemptions(settings.clients_decided())] == ["ldap-utils"]
    assert "ldap-utils" not in values(settings.clients_decided())


def test_services_that_run_are_left_unless_asked() -> None:
    units = {
        "cups.socket": UnitData(known=True, active=True, state="enabled"),
        "cups.service": UnitData(known=True, state="enabled"),
        "nginx.socket": UnitData(),
        "nginx.service": UnitData(known=True, state="masked"),
    }
    node = Node({})
    node.known[Units] = units
    assert commands(node, services_masked, services=["cups", "nginx"]) == [
        "systemctl mask -- cups.service"
    ]
    assert commands(node, services_masked, services=["cups", "nginx"], stop=True) == [
        "systemctl stop -- cups.socket",
        "systemctl mask -- cups.socket",
        "systemctl mask -- cups.service",
    ]
    node.known[Units] = {name: UnitData(known=True, state="masked") for name in units}
    assert commands(node, services_masked, services=["cups", "nginx"], stop=True) == []


def test_units_are_told_apart() -> None:
    said = """\
cups.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
x.socket
LoadState=not-found
ActiveState=inactive
UnitFileState=
"""
    found = Units().process(said.splitlines())
    assert found["cups.service"] == UnitData(known=True, active=True, state="enabled")
    assert not found["x.socket"].known
