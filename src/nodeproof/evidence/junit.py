"""Results as JUnit XML, as CI systems read it: a suite a node, a case a check or change."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

from nodeproof.engine.result import (
    Change,
    ChangeStatus,
    Check,
    Command,
    Exempted,
    Node,
    Result,
    Verdict,
)
from nodeproof.evidence import standing, summary
from nodeproof.evidence.plain import one_line, printable

_PENDING = "pending: apply has not been run"


def render_junit(result: Result) -> str:
    """Return the XML document.

    A node that could not be looked at has an error, and so has one that no check was run on: CI
    turns red where nothing is proven.
    """
    root = _element("testsuites", name=f"nodeproof {result.command}")
    for node in result.nodes:
        root.append(_suite(node, result))
    if result.interrupted or not result.nodes:
        suite = ET.SubElement(root, "testsuite", {"name": "nodeproof"})
        suite.append(_wrong("run", "error", summary.verdict(result)))
        _count(suite, result)
    _count(root, result)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(node: Node, result: Result) -> ET.Element:
    suite = _element("testsuite", name=node.name, hostname=node.name, timestamp=result.started)
    told = {
        "run": result.run,
        "command": result.command,
        "inventory": result.inventory,
        "version": result.version,
        "status": node.status,
    }
    excepted = [("exception", _exception(one)) for one in node.exceptions]
    suite.append(_properties([*told.items(), *excepted]))
    suite.extend(_change(change) for change in node.changes)
    suite.extend(_check(check) for check in node.checks)
    if not suite.findall("testcase/failure") and node.status in summary.TROUBLE:
        reason = "\n".join(filter(None, [node.reason or node.status, node.hint]))
        suite.append(_wrong("node", "error", reason))
    elif result.command is Command.VERIFY and not node.checks:
        suite.append(_wrong("node", "error", "no check was run: nothing is proven"))
    _count(suite, result, seconds=node.duration_s)
    return suite


def _check(check: Check) -> ET.Element:
    case = _case(check)
    case.append(_properties([("title", check.title), *(("control", c) for c in check.controls)]))
    if check.verdict is Verdict.FAILED:
        case.append(_told("failure", check.reason or "failed"))
    elif check.verdict is Verdict.EXCEPTED:
        case.append(_told("skipped", f"excepted: {check.reason or 'failed'}"))
    elif check.verdict is Verdict.SKIPPED:
        case.append(_told("skipped", check.reason or "skipped"))
    return case


def _exception(one: Exempted) -> str:
    said = (standing.told(one), one.reason, one.compensation, standing.until(one))
    return f"{one.control}: {'; '.join(said)}"


def _change(change: Change) -> ET.Element:
    case = _case(change)
    foreseen = str(change.foreseen).lower()
    case.append(_properties([("change", change.status), ("foreseen", foreseen)]))
    if change.status is ChangeStatus.FAILED:
        case.append(_told("failure", change.reason or "failed"))
    elif change.status is ChangeStatus.SKIPPED:
        case.append(_told("skipped", change.reason or "not tried"))
    elif change.status is ChangeStatus.PLANNED:
        case.append(_told("skipped", _PENDING))
    return case


def _case(thing: Check | Change) -> ET.Element:
    time = f"{thing.duration_s:.3f}"
    return _element("testcase", classname=thing.layer, name=thing.name, time=time)


def _wrong(name: str, tag: str, reason: str) -> ET.Element:
    case = _element("testcase", classname="nodeproof", name=name, time="0.000")
    case.append(_told(tag, reason))
    return case


def _told(tag: str, reason: str) -> ET.Element:
    """Return an element with the first line as its message, and all of the reason as its text."""
    element = _element(tag, message=reason.strip().partition("\n")[0])
    element.text = printable(reason)
    return element


def _properties(pairs: Iterable[tuple[str, str]]) -> ET.Element:
    properties = ET.Element("properties")
    properties.extend(_element("property", name=name, value=value) for name, value in pairs)
    return properties


def _element(tag: str, **attributes: Any) -> ET.Element:
    return ET.Element(tag, {key: one_line(str(value)) for key, value in attributes.items()})


def _count(element: ET.Element, result: Result, seconds: float | None = None) -> None:
    element.set("tests", str(len(list(element.iter("testcase")))))
    for tag, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        element.set(attribute, str(len(list(element.iter(tag)))))
    element.set("time", f"{result.duration_s if seconds is None else seconds:.3f}")
