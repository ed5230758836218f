"""JUnit XML parses whatever nodes say, and is red where something failed or nothing is proven."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import samples
from junitparser import JUnitXml, TestSuite

from nodeproof.engine.result import ChangeStatus, Command, NodeStatus, Result, Verdict
from nodeproof.evidence.junit import render_junit

SAMPLES = samples.everything()
TestSuite.__test__ = False  # its name is not a test's


def parsed(result: Result) -> ET.Element:
    return ET.fromstring(render_junit(result).encode())  # noqa: S314 - it is our own


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_it_parses_and_counts_right(name: str) -> None:
    root = parsed(SAMPLES[name])
    for element in [root, *root.findall("testsuite")]:
        for tag, attribute in [
            ("testcase", "tests"),
            ("failure", "failures"),
            ("error", "errors"),
            ("skipped", "skipped"),
        ]:
            assert int(element.attrib[attribute]) == len(list(element.iter(tag)))
    assert all(case.attrib["name"] and case.attrib["time"] for case in root.iter("testcase"))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_another_parser_reads_the_same(name: str) -> None:
    xml = JUnitXml.fromstring(render_junit(SAMPLES[name]).encode())
    suites = list(xml)
    wanted = SAMPLES[name]
    assert len(suites) == max(1, len(wanted.nodes) + wanted.interrupted)
    for suite, node in zip(suites, wanted.nodes, strict=False):
        assert {"run", "status"} <= {item.name for item in suite.properties()}
        failed = [c for c in node.checks if c.verdict is Verdict.FAILED]
        broken = [c for c in node.changes if c.status is ChangeStatus.FAILED]
        assert suite.failures == len(failed) + len(broken)


def test_a_suite_a_node_and_a_case_a_check() -> None:
    root = parsed(samples.verify_failed())
    assert [suite.get("name") for suite in root] == ["gpu-1", "gpu-2", "gpu-3", "gpu-4"]
    case = root.find("testsuite/testcase[@name='test_root_login_refused']")
    assert case is not None
    assert case.attrib["classname"] == "ssh"
    assert case.attrib["time"] == "0.041"
    assert [p.attrib["value"] for p in case.findall("properties/property[@name='control']")] == [
        "NP-SSH-01"
    ]
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "permitrootlogin is yes, want no"
    assert failure.text == samples.REASON


def test_a_skipped_check_has_its_reason() -> None:
    skipped = parsed(samples.verify_failed()).findall("testsuite[@name='gpu-2']//skipped")
    assert [element.attrib["message"] for element in skipped] == [
        "no container engine is asked for"
    ]


def test_a_node_that_could_not_be_looked_at_is_an_error() -> None:
    errors = parsed(samples.verify_failed()).findall("testsuite[@name='gpu-4']/testcase/error")
    assert [error.attrib["message"] for error in errors] == [
        "connection refused on 192.0.2.7 port 22"
    ]
    assert "start sshd there" in (errors[0].text or "")


@pytest.mark.parametrize("name", ["empty", "nothing_proven", "interrupted"])
def test_nothing_proven_is_red(name: str) -> None:
    root = parsed(SAMPLES[name])
    assert int(root.attrib["errors"]) == 1


def test_good_results_are_green() -> None:
    for result in (samples.proven(), samples.applied(), samples.nothing_to_do()):
        root = parsed(result)
        assert (root.attrib["failures"], root.attrib["errors"]) == ("0", "0")


def test_apply_has_a_case_a_change() -> None:
    suite = parsed(samples.apply_failed()).find("testsuite[@name='gpu-2']")
    assert suite is not None
    assert [suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")] == [
        "13", "1", "0", "2"
    ]  # fmt: skip


def test_a_planned_change_is_skipped_as_pending() -> None:
    root = parsed(samples.planned())
    assert root.attrib["skipped"] == "7"
    assert all("pending" in e.attrib["message"] for e in root.iter("skipped"))


def test_control_characters_do_not_break_it() -> None:
    every = "".join(map(chr, range(0x20))) + "\x7f\ufffe\uffff]]>&<"
    result = samples.result(Command.VERIFY, samples.node("a\x00b", NodeStatus.FAILED, reason=every))
    error = next(parsed(result).iter("error"))
    assert "\\x00\\x01" in (error.text or "")
    assert (error.text or "").endswith("\\uffff]]>&<")


def test_an_excepted_check_is_skipped_and_exceptions_are_properties() -> None:
    suite = parsed(samples.excepted())[0]
    case = suite.find("testcase[@name='test_root_login_refused']")
    assert case is not None
    assert case.find("failure") is None
    skipped = case.find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "excepted: permitrootlogin is yes, want no"
    values = [p.attrib["value"] for p in suite.findall("properties/property[@name='exception']")]
    assert len(values) == 3
    assert values[1] == (
        "NP-SSH-01: Root may not log in over SSH; The installer of the racks logs in as root; "
        "Keys alone, from the network of the racks; until 2027-01-31"
    )
