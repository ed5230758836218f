"""Exceptions: who may make them, what they excuse and what not, and when they end."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from nodeproof.checks.exceptions import exceptions, judged, remarks
from nodeproof.engine.result import Check, Exempted, Verdict
from nodeproof.layers.ssh.settings import Settings as Ssh
from nodeproof.layers.ssh.settings import exceptions as of_ssh
from nodeproof.settings import SettingsError
from nodeproof.settings.site import HostSettings, validate

TODAY = date(2027, 1, 1)
OWN = {
    "reason": "Notebooks are reached through ssh, für alle",
    "compensation": "Only 10.0.0.0/8 reaches port 22 (firewall).",
    "until": "2027-01-31",
}


def settings(excepted: object, **data: Any) -> HostSettings:
    return validate("site.py", {"node1": {"ssh": {}, "exceptions": excepted, **data}})["node1"]


def own(until: str = "2027-01-31", control: str = "NP-SSH-05") -> list[Exempted]:
    """Return what the inventory excepts, without what the layer's settings leave out."""
    asked = settings({control: {**OWN, "until": until}})
    return [one for one in exceptions(asked, ["ssh"], TODAY) if not one.parameter]


def check(*controls: str, verdict: Verdict = Verdict.FAILED, looked: bool = True) -> Check:
    return Check(
        layer="ssh",
        name="thing",
        title="Why.",
        controls=list(controls),
        verdict=verdict,
        looked=looked,
    )


# What an inventory may say


def test_an_exception_has_reason_compensation_and_end() -> None:
    (one,) = own()
    assert (one.control, one.reason, one.compensation) == ("NP-SSH-05", *list(OWN.values())[:2])
    assert (one.expires, one.expired, one.roles) == ("2027-01-31", False, [])
    assert one.wanted == "SSH forwarding is off"


@pytest.mark.parametrize(
    ("excepted", "said"),
    [
        ({"NP-SSH-50": OWN}, "exceptions.NP-SSH-50: unknown control; did you mean NP-SSH-0"),
        ({"NP-SHH-05": OWN}, "exceptions.NP-SHH-05: unknown control; did you mean NP-SSH-05?"),
        ({"ssh": OWN}, "exceptions.ssh: not allowed here ('ssh'); allowed: the id of a control"),
        ({"NP-SSH-05": {}}, "exceptions.NP-SSH-05.until: field required"),
        ({"NP-SSH-05": {**OWN, "until": "soon"}}, "allowed: a day such as 2027-01-31"),
        ({"NP-SSH-05": {**OWN, "until": "2027-02-31"}}, "until: day is out of range for month"),
        ({"NP-SSH-05": {**OWN, "reason": "no"}}, "allowed: a sentence, at least 10 of letters"),
        ({"NP-SSH-05": {**OWN, "reason": ""}}, "NP-SSH-05.reason: not allowed here"),
        ({"NP-SSH-05": {**OWN, "reason": "<b>"}}, "NP-SSH-05.reason: not allowed here"),
        ({"NP-SSH-05": {**OWN, "unti": "2027-01-31"}}, "unti: unknown key"),
        ([], "exceptions: wrong value ([]); allowed: a valid dictionary"),
    ],
)
def test_what_is_wrong_is_said(excepted: object, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(excepted)
    assert said in raised.value.message


@pytest.mark.parametrize("key", ["reason", "compensation"])
@pytest.mark.parametrize(
    "bad",
    [
        *("$(id)", "`id`", "|id", "&id", ">x", "<script>", "{{ 7*7 }}", "{% raw %}", "%s", "#x"),
        *("\n", "\nx", "\r", "\x00", "\x1b[31m", "\t", "'", '"', "\\", "\u202e", "~", "!", "*"),
        "a" * 500,
    ],
)
def test_a_sentence_holds_nothing_that_steers(key: str, bad: str) -> None:
    for text in (f"{OWN[key]}{bad}", f"{bad}{OWN[key]}"):
        with pytest.raises(SettingsError, match=f"NP-SSH-05.{key}: "):
            settings({"NP-SSH-05": {**OWN, key: text}})


def test_a_misspelt_key_is_not_passed_over() -> None:
    with pytest.raises(SettingsError, match=r"exception: unknown.*did you mean exceptions"):
        validate("site.py", {"node1": {"exception": {"NP-SSH-05": OWN}}})


def test_exceptions_of_groups_and_hosts_come_together() -> None:
    asked = settings({"NP-SSH-05": OWN, "NP-SSH-01": OWN})
    assert list(asked.exceptions) == ["NP-SSH-05", "NP-SSH-01"]


def test_only_what_is_looked_at_is_listed() -> None:
    asked = settings({"NP-SSH-05": OWN, "NP-GPU-01": OWN})
    listed = [one.control for one in exceptions(asked, ["ssh", "gpu"], TODAY) if one.expires]
    assert listed == ["NP-SSH-05"]
    assert exceptions(asked, ["system"], TODAY) == []


# What it excuses


def test_a_failed_check_is_excepted() -> None:
    found = judged(check("NP-SSH-05"), own())
    assert (found.verdict, found.controls) == (Verdict.EXCEPTED, ["NP-SSH-05"])


@pytest.mark.parametrize("until", ["2027-01-01", "2027-01-02"])
def test_the_last_day_counts(until: str) -> None:
    assert judged(check("NP-SSH-05"), own(until)).verdict is Verdict.EXCEPTED


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (check("NP-SSH-05"), own("2026-12-31")),
        (check("NP-SSH-05"), own(control="NP-SSH-01")),
        (check("NP-SSH-05", "NP-SSH-01"), own()),
        (check("NP-SSH-05", looked=False), own()),
        (check("NP-SSH-05"), [own()[0].model_copy(update={"parameter": "ssh.tcp_forwarding"})]),
        (check("NP-SSH-05"), []),
    ],
    ids=["ended", "of another", "of one of two", "could not look", "of a parameter", "none"],
)
def test_what_stays_failed(one: Check, found: list[Exempted]) -> None:
    assert judged(one, found).verdict is Verdict.FAILED


@pytest.mark.parametrize("verdict", [Verdict.PASSED, Verdict.SKIPPED])
def test_what_did_not_fail_stays_as_it_is(verdict: Verdict) -> None:
    assert judged(check("NP-SSH-05", verdict=verdict), own()).verdict is verdict


# When it ends


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("2026-12-31", ["exception of NP-SSH-05 ended on 2026-12-31: it no longer counts"]),
        ("2027-01-01", ["exception of NP-SSH-05 ends on 2027-01-01, today"]),
        ("2027-01-02", ["exception of NP-SSH-05 ends on 2027-01-02, in 1 day"]),
        ("2027-01-31", ["exception of NP-SSH-05 ends on 2027-01-31, in 30 days"]),
        ("2027-02-01", []),
    ],
)
def test_it_is_said_when_one_ends(until: str, said: list[str]) -> None:
    assert list(remarks(own(until), TODAY)) == said


# What a layer's settings leave out


def test_what_a_layer_does_not_ask_for_is_an_exception() -> None:
    asked = Ssh(
        root_login="prohibit-password", allow_groups=["ops"], tcp_forwarding=True, macs=["umac-128"]
    )
    found = {one.parameter: (one.control, one.wanted, one.value) for one in of_ssh(asked)}
    assert found["ssh.root_login"] == ("NP-SSH-01", "no", "prohibit-password")
    assert found["ssh.tcp_forwarding"] == ("NP-SSH-05", False, True)
    assert found["ssh.macs"][2] == ("umac-128",)
    assert set(found) == {"ssh.root_login", "ssh.tcp_forwarding", "ssh.macs"}


def test_what_is_stricter_is_none() -> None:
    asked = Ssh(allow_users=["ada"], max_auth_tries=2, macs=["hmac-sha2-512-etm@openssh.com"])
    assert of_ssh(asked) == ()
    assert [one.parameter for one in of_ssh(Ssh(max_auth_tries=6, allow_users=["ada"]))] == [
        "ssh.max_auth_tries"
    ]


def test_it_is_told_as_a_person_reads_it() -> None:
    asked = settings({}, ssh={"tcp_forwarding": True, "macs": ["umac-128", "umac-64"]})
    found = {one.parameter: one for one in exceptions(asked, ["ssh"], TODAY)}
    assert found["ssh.tcp_forwarding"].wanted == "no"
    assert found["ssh.tcp_forwarding"].value == "yes"
    assert found["ssh.macs"].value == "umac-128, umac-64"
    assert found["ssh.allow_groups"].value == ""
