#!/usr/bin/env python3
"""Make evidence/standards.json: which items of which standards the rules that controls name serve.

    python tools/standards.py [--fill] CONTENT WAZUH BENCH

CONTENT, WAZUH and BENCH are clones (bare ones too) of ComplianceAsCode/content, wazuh/wazuh and
docker/docker-bench-security; the commits that are read are pinned below. Only identifiers are
taken. Needs git, PyYAML and tomlkit; no part of nodeproof runs it.

With --fill, controls that name items of CIS Debian and no rules get the rules of these items first:
those rules whose items there are all among the control's. Look at what it wrote before it counts.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
import yaml

EVIDENCE = Path(__file__).parents[1] / "src" / "nodeproof" / "evidence"
COMMITS = {
    "ComplianceAsCode/content": "b3a2cca9352cbcefb7f00d770bfd6f679da18d6a",
    "wazuh/wazuh": "e0707d735cc60b38da2723376a2f0faeffe697bb",  # v4.14.0
    "docker/docker-bench-security": "ff26d67f25be60fc2d82a01710ee14570b2cb9db",
}
CONTROL_FILES = {
    "cis_debian12": "controls/cis_debian12.yml",
    "cis_debian13": "controls/cis_debian13.yml",
    "cis_ubuntu2204": "controls/cis_ubuntu2204.yml",
    "cis_ubuntu2404": "controls/cis_ubuntu2404.yml",
    "cis_rhel9": "products/rhel9/controls/cis_rhel9.yml",
    "cis_rhel10": "products/rhel10/controls/cis_rhel10.yml",
    "stig_rhel9": "products/rhel9/controls/stig_rhel9.yml",
    "stig_ubuntu2204": "controls/stig_ubuntu2204.yml",
    "stig_ubuntu2404": "controls/stig_ubuntu2404.yml",
    "nist_800_53": "products/rhel10/controls/nist_800_53.yml",
    "hipaa": "controls/hipaa.yml",
    "pci_dss_4": "controls/pcidss_4.yml",
}
WITHDRAWN = {
    **{"AU-8(1)": "SC-45(1)", "AU-8(2)": "SC-45(2)", "CM-5(3)": "CM-14", "SA-13": "SA-8"},
    **{"IA-2(3)": "IA-2(1)", "IA-2(4)": "IA-2(2)", "IA-2(7)": "IA-2(6)", "IA-2(9)": "IA-2(8)"},
    **{"IA-2(11)": "IA-2(6)", "IA-5(4)": "IA-5(1)", "SI-3(2)": "SI-3"},
    **{"SA-12": "", "SA-12(10)": ""},
}
"""What rules refer to by NIST 800-53 revision 4, and where revision 5 put it."""
SCA = "ruleset/sca/debian/cis_debian12.yml"
CRITERION = re.compile(r"(CC[1-9]|A1|C1|PI1|P[1-8])\.\d")
NUMBERED = re.compile(r"\d+(\.\d+)+|[A-Z]+-\d+-\d+|[a-z]{2}-\d+(\.\d+)?|164\..+")
"""Items that have a number of the standard's own; helpers of the source have words."""


@dataclass
class Standard:
    """The items of one standard, as its source has them, and the rules of each."""

    version: str
    source: str
    automated: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    rules: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, item: str, rules: Iterable[str], *, automated: bool) -> None:
        """Note an item; one that is automated somewhere is automated."""
        names = set(rules)
        (self.automated if automated and names else self.others).add(item)
        self.others -= self.automated
        for name in names:
            self.rules[name].add(item)


def files(repository: str, name: str, *paths: str) -> dict[str, str]:
    """Return the texts below some paths of the pinned commit."""
    command = ["git", "-C", repository, "archive", "--format=tar", COMMITS[name], *paths]
    archive = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {one.name: tar.extractfile(one) for one in tar if one.isfile()}
        wanted = (".yml", ".sh", ".json")
        return {n: f.read().decode() for n, f in found.items() if f and n.endswith(wanted)}


def flat(controls: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield controls with those below them."""
    for control in controls:
        yield control
        yield from flat(control.get("controls") or ())


def control_file(texts: dict[str, str], path: str) -> Standard:
    """Read a policy; items for workstations alone are left out."""
    data = yaml.safe_load(texts[path])
    controls = list(flat(data.get("controls") or ()))
    if folder := data.get("controls_dir"):
        below = path.rpartition("/")[0] + f"/{folder}/"
        for name in sorted(name for name in texts if name.startswith(below)):
            controls += flat(yaml.safe_load(texts[name])["controls"])
    standard = Standard(str(data.get("version") or ""), f"ComplianceAsCode/content {path}")
    for control in controls:
        item, levels = str(control["id"]), control.get("levels") or [""]
        if not NUMBERED.fullmatch(item) or all("workstation" in level for level in levels):
            continue
        rules = [r for r in control.get("rules") or () if "=" not in r and not r.startswith("!")]
        automated = control.get("status") in ("automated", "partial")
        standard.add(
            nist(item) if path.endswith("800_53.yml") else item, rules, automated=automated
        )
    return standard


def nist(item: str) -> str:
    """Return ``ac-2.5`` as ``AC-2(5)``."""
    base, _, enhancement = item.upper().partition(".")
    return f"{base}({enhancement})" if enhancement else base


def references(text: str) -> dict[str, list[str]]:
    """Return the references of a rule; its file is a template, so it is not read as YAML."""
    block = re.search(r"^references:\n((?:[ \t]+.*\n|\n)*)", text, re.M)
    lines = re.findall(r"^    ([a-z0-9-]+): (.+)$", block[1] if block else "", re.M)
    return {key: [one.strip(" '\"") for one in ids.strip("'\"").split(",")] for key, ids in lines}


def with_references(rules: dict[str, dict[str, list[str]]], standards: dict[str, Standard]) -> None:
    """Add what rules refer to: NIST 800-53, as far as revision 5 has it, and 800-171."""
    nist53 = standards["nist_800_53"]
    nist53.source += ", references nist of linux_os/guide"
    nist53.others -= WITHDRAWN.keys()
    known = nist53.automated | nist53.others
    cui = Standard("revision 2", "ComplianceAsCode/content linux_os/guide, references cui")
    standards["nist_800_171"] = cui
    for rule, found in rules.items():
        named = (re.match(r"[A-Z]{2}-\d+(\(\d+\))?", one) for one in found.get("nist", ()))
        for item in {WITHDRAWN.get(match[0], match[0]) for match in named if match} & known:
            nist53.add(item, [rule], automated=True)
        for item in filter(re.compile(r"3\.\d+\.\d+").fullmatch, found.get("cui", ())):
            cui.add(item, [rule], automated=True)


def trust_criteria(text: str, debian: Standard) -> Standard:
    """Read the Trust Services Criteria that Wazuh gives items of CIS Debian 12."""
    standard = Standard("2017", f"wazuh/wazuh {SCA}, by items of CIS Debian 12")
    for check in yaml.safe_load(text)["checks"]:
        named = {key: ids for one in check["compliance"] for key, ids in one.items()}
        rules = [r for r, items in debian.rules.items() if items & {*named.get("cis", ())}]
        for item in filter(CRITERION.fullmatch, named.get("soc_2", ())):
            standard.add(item, rules, automated=True)
    return standard


def docker(texts: Iterable[str]) -> Standard:
    """Read the items of the bench; it has no rules that have names elsewhere."""
    standard = Standard("1.6.0", "docker/docker-bench-security tests")
    desc = r'local desc="[^"]*\((Automated|Scored|Manual)\)"'
    items = re.compile(r'local id="(\d+(?:\.\d+)+)"\s+' + desc)
    for text in texts:
        for item, kind in items.findall(text):
            (standard.others if kind == "Manual" else standard.automated).add(item)
    return standard


def natural(text: str) -> list[tuple[int, str]]:
    """Sort 1.10 behind 1.9."""
    return [(int(part or 0), text) for part, text in re.findall(r"(\d*)(\D*)", text)]


def wanted() -> set[str]:
    """Return the rules that our controls name."""
    catalogue = tomllib.loads((EVIDENCE / "controls.toml").read_text(encoding="utf-8"))
    return {rule for control in catalogue["controls"].values() for rule in control.get("rules", ())}


def fill(standards: dict[str, Standard]) -> None:
    """Give controls without rules those that the items of their own `maps` have."""
    path = EVIDENCE / "controls.toml"
    file = tomlkit.parse(path.read_text(encoding="utf-8"))
    for name, control in file["controls"].items():
        maps = control.get("maps", {})
        debian = {key: {*maps.get(key, ())} for key in ("cis_debian12", "cis_debian13")}
        rules = {rule for key in debian for rule in standards[key].rules}
        fitting = [
            rule
            for rule in sorted(rules)
            if any(standards[key].rules.get(rule) for key, items in debian.items() if items)
            and all(standards[key].rules.get(rule, set()) <= debian[key] for key in debian)
        ]
        if fitting and not control.get("rules"):
            print(f"{name}: {', '.join(fitting)}")  # noqa: T201
            control.add("rules", _array(fitting))
    path.write_text(tomlkit.dumps(file), encoding="utf-8")


def _array(words: Iterable[str]) -> tomlkit.items.Array:
    array = tomlkit.array()
    array.extend(words)
    return array.multiline(multiline=True)


def written(standards: dict[str, Standard], rules: set[str]) -> str:
    """Return the file: a line a standard and a line a rule."""

    def words(items: Iterable[str]) -> str:
        return " ".join(sorted(items, key=natural))

    heads = {
        key: {
            "version": one.version,
            "source": one.source,
            "automated": words(one.automated),
            "others": words(one.others),
        }
        for key, one in sorted(standards.items())
    }
    served = {
        rule: {
            key: words(one.rules[rule]) for key, one in sorted(standards.items()) if one.rules[rule]
        }
        for rule in sorted(rules)
    }
    parts = {"commits": COMMITS, "standards": heads, "rules": served}
    blocks = []
    for name, part in parts.items():
        lines = ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in part.items()
        )
        blocks.append(f'"{name}": {{\n{lines}\n}}')
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def main(content: str, wazuh: str, bench: str, *, filling: bool) -> None:
    """Write the file anew."""
    folders = ["controls", "products/rhel9/controls", "products/rhel10/controls"]
    texts = files(content, "ComplianceAsCode/content", *folders)
    guide = files(content, "ComplianceAsCode/content", "linux_os/guide")
    rules = {n.split("/")[-2]: references(t) for n, t in guide.items() if n.endswith("/rule.yml")}
    standards = {key: control_file(texts, path) for key, path in CONTROL_FILES.items()}
    with_references(rules, standards)
    sca = files(wazuh, "wazuh/wazuh", SCA)[SCA]
    standards["soc_2"] = trust_criteria(sca, standards["cis_debian12"])
    standards["cis_docker"] = docker(files(bench, "docker/docker-bench-security", "tests").values())
    if filling:
        fill(standards)
    if unknown := wanted() - set(rules):
        sys.exit(f"controls.toml: no such rule: {', '.join(sorted(unknown))}")
    path = EVIDENCE / "standards.json"
    path.write_text(written(standards, wanted()), encoding="utf-8")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--fill"]
    main(*arguments, filling="--fill" in sys.argv)
