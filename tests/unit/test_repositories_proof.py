"""What is held and who is trusted, as dnf itself says it: seen right, and seen failing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import pytest

from nodeproof.catalog.distributions import distributions
from nodeproof.facts.packages import PackagesData
from nodeproof.repositories import proof
from nodeproof.repositories.proof import held, trusted_wrongly
from nodeproof.repositories.spec import DnfRepository, SigningKey
from nodeproof.scripts import text

URI = "http://mirror.example/rhel9/x86_64/"
KEY_FILE = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBGR\n-----END PGP PUBLIC KEY BLOCK-----\n"
ASKED = DnfRepository(
    name="cuda",
    uris=(URI,),
    supplies=("nvidia-*",),
    key=SigningKey(url=f"{URI}CDF6BA43.pub", sha256=hashlib.sha256(KEY_FILE).hexdigest()),
)
ROW = f"{URI}|/etc/yum.repos.d/nodeproof-cuda.repo|1|1|file:///etc/pki/rpm-gpg/nodeproof-cuda.asc"
BASE = "http://mirror.example/BaseOS/|/etc/yum.repos.d/rocky.repo|1|0|file:///etc/pki/rpm-gpg/R"
# dnf 4.14 and 4.23; the plugin writes epochs out
LOCKS = """nvidia-open-3:580.178.04-1.el9.*
nvidia-fabricmanager-3:580.126.09-1.el9.*
!nvidia-driver-3:580.178.04-1.el9.*
libnccl-0:2.28.9-1+cuda13.0.*
"""
EL_9 = distributions()["el-9"]


class Host:
    """A node that says what it is told to say."""

    def __init__(self, says: str, content: bytes = KEY_FILE) -> None:
        self.says, self.content_string, self.content = says, content.decode(), content
        self.asked: list[str] = []

    def check_output(self, command: str, *arguments: str) -> str:
        self.asked.append(" ".join((command, *arguments)))
        return self.says

    def file(self, path: str) -> Host:
        return self


def test_only_what_is_locked_as_it_is_counts_as_held() -> None:
    has = PackagesData(
        installed={
            "nvidia-open": "3:580.178.04-1.el9",
            "nvidia-fabricmanager": "3:580.178.04-1.el9",
            "nvidia-driver": "3:580.178.04-1.el9",
            "libnccl": "2.28.9-1+cuda13.0",
            "nvidia": "1-1",
        }
    )
    host: Any = Host(LOCKS)
    assert held(host, EL_9, has) == {"nvidia-open", "libnccl"}
    assert host.asked == ["dnf -q --disablerepo='*' versionlock list"]


def test_trusts_the_pinned_file_alone() -> None:
    host: Any = Host(f"{BASE}\n{ROW}\n")
    assert trusted_wrongly(host, ASKED) == ""
    assert host.asked == [f"sh -c %s sh %s {text('with-dnf.sh')} {text('dnf-repositories.py')}"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([BASE], f"{URI[:-1]} is named in no file"),
        ([ROW, ROW.replace("nodeproof-cuda.repo", "cuda-rhel9.repo")], "cuda-rhel9.repo"),
        ([ROW.replace("|1|1|", "|0|1|")], "does not ask for all signatures"),
        ([ROW.replace("|1|1|", "|1|0|")], "does not ask for all signatures"),
        ([ROW.rpartition("|")[0] + "|"], "is trusted by every key"),
        ([f"{ROW} https://somebody.example/key"], "is trusted by ['file:///etc/pki"),
    ],
)
def test_trusts_somebody_else(rows: list[str], said: str) -> None:
    host: Any = Host("\n".join(rows))
    assert said in trusted_wrongly(host, ASKED)


def test_another_key_file() -> None:
    host: Any = Host(ROW, KEY_FILE + b"more\n")
    assert "nodeproof-cuda.asc has the digest" in trusted_wrongly(host, ASKED)


A, B, C = ("A" * 40, "B" * 40, "C" * 40)


@pytest.mark.parametrize(
    ("has", "said"),
    [
        ([A], ""),
        ([A, B], ""),
        ([C], f"has {C}"),
        ([A, C], f"has {A}, {C}"),
        ([], "has no key"),
    ],
)
def test_a_keyring_has_pinned_keys_only(
    has: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several that are pinned, not all are in every file; another one is in none."""
    monkeypatch.setattr(proof, "certificates", lambda content: [Key(one) for one in has])
    asked = replace(ASKED, key=SigningKey((A, B), url=f"{URI}key.pub"))
    host: Any = Host(f"{ROW}\n")
    assert trusted_wrongly(host, asked).endswith(said)
    assert bool(trusted_wrongly(host, asked)) is bool(said)


@dataclass(frozen=True)
class Key:
    """A key of a keyring."""

    fingerprint: str
