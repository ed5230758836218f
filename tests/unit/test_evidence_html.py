"""The HTML page stands alone, shows what nodes say as text, and can be read by everybody."""

from __future__ import annotations

import re
import time
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import pytest
import samples

from nodeproof.engine.result import ChangeStatus, Command, NodeStatus, Result
from nodeproof.evidence import view
from nodeproof.evidence.coverage import Proof, coverage, unmeasured
from nodeproof.evidence.html import render_html
from nodeproof.evidence.plain import printable
from nodeproof.resources import shipped

SAMPLES = samples.everything()
VOID = {"meta", "input", "br"}
LOADING = {"script", "link", "img", "iframe", "object", "embed", "base", "form", "video", "svg"}
CSS = shipped("templates", "report", "style.css").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Reads a page and keeps what the tests ask about; a tag out of place is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} ends out of place in {self.open}"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def texts(self, name: str) -> list[str]:
        return [text for tag, text in self.text if tag == name]


@pytest.fixture(scope="module")
def pages() -> dict[str, tuple[str, Page]]:
    rendered = {name: render_html(result) for name, result in SAMPLES.items()}
    return {name: (html, Page(html)) for name, html in rendered.items()}


every = pytest.mark.parametrize("name", sorted(SAMPLES))


@every
def test_nothing_is_loaded_from_anywhere(name: str, pages: dict[str, tuple[str, Page]]) -> None:
    html, page = pages[name]
    assert {tag for tag, _ in page.tags} & LOADING == set()
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "action", "style", "background"} & set(attributes), tag
        assert not [key for key in attributes if key.startswith("on")], tag
        assert (attributes.get("href") or "#").startswith("#")
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|expression|https?:", style)
    policy = page.all("meta")[2]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


@every
def test_what_nodes_say_is_text(name: str, pages: dict[str, tuple[str, Page]]) -> None:
    html, page = pages[name]
    assert "<script" not in html
    assert printable(html) == html
    if name.startswith("hostile"):
        shown = Counter(tag for tag, text in page.text if "<script>alert('x')</script>&\"" in text)
        assert set(shown) >= {
            "code",
            "time",
            "dd",
            "pre",
            "p",
            "b",
            "strong",
            "a",
            "span",
            "summary",
        }
        assert shown.total() > 150


@every
def test_links_lead_somewhere_and_ids_are_unique(
    name: str, pages: dict[str, tuple[str, Page]]
) -> None:
    _, page = pages[name]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert unquote((link["href"] or "")[1:]) in {printable(one or "") for one in ids}
    for _, attributes in page.tags:
        assert attributes.get("aria-labelledby", ids[0] if ids else None) in [*ids, None]


@every
def test_headings_go_down_in_steps(name: str, pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages[name]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@every
def test_tables_say_what_they_are(name: str, pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages[name]
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(cell.get("scope") in {"row", "col"} for cell in page.all("th"))


@every
def test_every_node_is_on_the_page(name: str, pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages[name]
    everything = " ".join(text for _, text in page.text)
    assert all(printable(node.name) in everything for node in SAMPLES[name].nodes)


def test_the_verdict_is_the_heading(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["verify_failed"]
    assert page.texts("h1") == ["2 of 4 nodes failed, 1 unreachable"]
    assert page.texts("title") == [
        "verify: 2 of 4 nodes failed, 1 unreachable; "
        "36 checks: 3 failed, 1 skipped, 32 passed – nodeproof"  # noqa: RUF001
    ]
    assert "2026-10-03 09:15:00 UTC" in page.texts("time")
    assert page.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize(
    ("name", "tone"),
    [
        ("proven", "ok"),
        ("applied", "changed"),
        ("planned", "pending"),
        ("verify_failed", "failed"),
        ("nothing_proven", "pending"),
        ("empty", "pending"),
        ("interrupted", "failed"),
    ],
)
def test_the_verdict_has_its_colour(
    name: str, tone: str, pages: dict[str, tuple[str, Page]]
) -> None:
    assert pages[name][1].all("header") == [{"class": f"verdict {tone}"}]


def test_failed_things_come_first(pages: dict[str, tuple[str, Page]]) -> None:
    html, page = pages["apply_failed"]
    cards = [c["class"] for c in page.all("details") if (c.get("class") or "").startswith("card")]
    assert cards == ["card failed", "card unreachable", "card refused", "card changed"]
    assert html.index("Needs attention") < html.index("Failed change") < html.index(">Changes<")
    assert html.count("apply again: it goes on where it stopped") == 2  # attention and its card


def test_changes_stand_in_the_order_of_application() -> None:
    (kind, _, items), *_ = view.steps(samples.apply_failed())
    assert kind == "Changed"
    assert [item.what.name for item in items] == [
        "Write the workload's profile",
        "Load the workload's profile",
        "Install the OpenSSH server",
        "Write the sshd drop-in",
        "Reload the OpenSSH server",
    ]


def test_diffs_are_told_by_sign_and_colour(pages: dict[str, tuple[str, Page]]) -> None:
    html, _ = pages["planned"]
    assert '<span class="del">-PermitRootLogin yes</span>\n' in html
    assert '<span class="add">+PermitRootLogin no</span>\n' in html


def test_nodes_are_filtered_without_a_script(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["apply_failed"]
    shown = [one["id"] for one in page.all("input")]
    assert shown == [f"show-{s}" for s in ("all", "changed", "failed", "refused", "unreachable")]
    for status in NodeStatus:
        assert f".nodes:has(#show-{status}:checked) .card:not(.{status})" in CSS


def test_nodes_with_the_same_outcome_share_a_card(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["fleet_verify"]
    assert "190 nodes" in page.texts("strong")
    assert len([c for c in page.all("details") if c.get("class") == "card ok"]) == 1


def test_a_control_per_node_up_to_thirty_nodes() -> None:
    small = Page(render_html(samples.fleet(Command.VERIFY, 30)))
    large = Page(render_html(samples.fleet(Command.VERIFY, 31)))
    assert len([c for c in small.all("th") if c.get("class") == "node"]) == 30
    assert [c for c in large.all("th") if c.get("class") == "node"] == []
    failed = [c for c in small.all("td") if c.get("class") == "mark failed"]
    assert len(failed) == 2


def test_what_controls_come_to() -> None:
    covered = {one.id: one for one in coverage(samples.verify_failed().nodes)}
    assert covered["NP-SSH-01"].proofs == (Proof.FAILED, Proof.FAILED, Proof.PASSED, Proof.NONE)
    assert covered["NP-SSH-01"].overall is Proof.FAILED
    assert covered["NP-SSH-01"].said == "failed on 2"
    assert covered["NP-CTR-02"].proofs == (Proof.PASSED, Proof.SKIPPED, Proof.PASSED, Proof.NONE)
    assert covered["NP-CTR-02"].said == "passed on 2 of 4"
    assert covered["NP-SSH-02"].overall is Proof.PARTLY
    assert "NP-CTR-01" in {control.id for control in unmeasured(covered.values())}
    assert [one.overall for one in coverage(samples.proven().nodes)] == [Proof.PASSED] * 11


def test_part_of_a_control_is_not_all_of_it() -> None:
    proofs = samples.checks(skipped={6: "the node's OpenSSH is too old"})
    (node,) = [samples.node("gpu-1", NodeStatus.OK, checks=proofs)]
    covered = {one.id: one for one in coverage([node])}
    assert covered["NP-SSH-03"].proofs == (Proof.PARTLY,)
    assert covered["NP-SSH-03"].said == "partly"


def test_an_unknown_control_says_so(pages: dict[str, tuple[str, Page]]) -> None:
    assert "not in the catalogue" in pages["hostile_verify"][0]


def test_a_thousand_nodes_fit_on_the_page() -> None:
    result = samples.wide(1000, 60)
    begun = time.process_time()
    html = render_html(result)
    assert time.process_time() - begun < 10
    assert len(html.encode()) < 1_000_000
    Page(html)


def noisy(many: int) -> Result:
    """Return nodes on which every check fails in a long way of its own, and every diff differs."""
    nodes = []
    for number in range(many):
        reason = f"node {number}: " + "x" * 600
        failed = samples.checks(dict.fromkeys(range(12), reason))
        steps = [
            samples.change(n, ChangeStatus.FAILED, diff=f"+{number}\n" + samples.DIFF * 5)
            for n in range(13)
        ]
        nodes.append(samples.node(f"n{number}", NodeStatus.FAILED, checks=failed, changes=steps))
    return samples.result(Command.APPLY, *nodes)


def test_what_does_not_fit_is_said() -> None:
    html = render_html(noisy(1000))
    assert len(html.encode()) < 5_000_000
    assert view.LEFT_OUT in html
    assert "On 950 more nodes for other reasons: the JSON result has them." in html
    assert "900 more outcomes, a line each" in html
    Page(html)


# Contrast: every colour that text has, on every ground it stands on, in both themes.

GROUNDS = {"ink": "page card code", "soft": "page card code"}
TONES = ("good", "bad", "wait", "new", "stop", "none")


def themes() -> dict[str, dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-fA-F]{6});", block)) for block in blocks)
    return {"light": light, "dark": light | dark}


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_is_enough_to_read(theme: str) -> None:
    colors = themes()[theme]
    assert len(colors) == 18
    pairs = [(text, ground) for text, grounds in GROUNDS.items() for ground in grounds.split()]
    for tone in TONES:
        pairs += [(tone, f"{tone}-bg"), (tone, "card"), ("soft", f"{tone}-bg")]
        pairs += [("ink", f"{tone}-bg"), (tone, "page"), (tone, "code")]
    for text, ground in pairs:
        low, high = sorted((luminance(colors[text]), luminance(colors[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}"


def test_focus_is_visible_and_themes_follow_the_reader() -> None:
    assert ":focus-visible { outline: 3px solid" in CSS
    assert "outline: none" not in CSS
    assert "prefers-color-scheme: dark" in CSS
    assert "@media print" in CSS


# Exceptions and standards


def test_exceptions_and_standards_are_tables(pages: dict[str, tuple[str, Page]]) -> None:
    html, page = pages["excepted"]
    assert {"Exceptions", "Standards", "Controls"} < {*page.texts("h2")}
    for words in ("The installer of the racks logs in as root", "Keys alone, from the network"):
        assert words in html
    assert page.texts("td").count("2027-01-31") == 1
    assert "ended" in page.texts("span")
    assert {"4 of 13", "12 of 316"} < {text for _, text in page.text}
    assert "5.1.21" in page.texts("span")
    assert "excepted on 1" in page.texts("span")
    assert "Exceptions" not in pages["verify_failed"][1].texts("h2")
