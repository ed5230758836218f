"""No text that a user may write reaches a shell, a template or a command line as anything else.

Every text in every layer's settings is found by walking the models, so a new key is tested
without anybody thinking of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nodeproof.layers import LAYERS
from nodeproof.layers.hardening.access_settings import UMASK
from nodeproof.layers.hardening.services_settings import UNIT_STEM
from nodeproof.layers.kernel import settings as kernel
from nodeproof.settings import SettingsError
from nodeproof.settings.connection import Connection
from nodeproof.settings.site import merged, validate

PAYLOADS = {
    "command": "a; rm -rf /",
    "substitution": "$(id)",
    "variable": "$HOME",
    "backquotes": "`id`",
    "pipe": "a|id",
    "background": "a&id",
    "redirection": "a>b",
    "line": "a\nb",
    "last line": "a\n",
    "carriage return": "a\rb",
    "nul": "a\x00b",
    "escape": "a\x1b[31m",
    "tab": "a\tb",
    "space": "a b",
    "template": "{{ 7*7 }}",
    "template block": "{% raw %}",
    "template comment": "{# x #}",
    "format": "%s%n",
    "quote": "a'b",
    "double quote": 'a"b',
    "backslash": "a\\b",
    "parent": "../../etc/passwd",
    "parent within": "/a/../b",
    "option": "-rf",
    "long option": "--help",
    "comment": "#x",
    "homoglyph": "\u0430dmin",
    "right to left": "a\u202eb",
    "full width": "\uff0fetc",
    "digits": "\u0661\u0662",
    "very long": "a" * 5000,
    "empty": "",
    "dot": ".",
    "dots": "..",
    "tilde": "~root",
}
"""None of these may be accepted anywhere, nor may they at the end of a good value."""

INERT: dict[tuple[str, str], str] = {
    ("kernel.sysctl.kernel.good", "space"): "a value of several words; in a file, or quoted",
    ("kernel.deny_until.good.reason", "space"): "a sentence, which only we print",
    ("hardening.banner.text", "space"): "a sentence, that goes to files and nowhere else",
}
"""(dotted key, payload) that is accepted, with the reason why it cannot do harm."""

Build = Callable[[Any], Any]


def texts(annotation: Any, key: str, build: Build) -> Iterator[tuple[str, Build]]:
    """Yield every place where an annotation takes text, and how to put a value there."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from texts(args[0], key, build)
    elif origin is dict:
        yield from texts(args[0], f"{key}[key]", lambda value: build({value: good(args[1])}))
        inside = good(args[0])
        yield from texts(args[1], f"{key}.{inside}", lambda value: build({inside: value}))
    elif origin in (list, set, frozenset, tuple):
        yield from texts(args[0], f"{key}.0", lambda value: build([value]))
    elif origin is Literal:
        if any(isinstance(arg, str) for arg in args):
            yield key, build
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        yield key, build
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            needed = {
                other: good(whole(one))
                for other, one in annotation.model_fields.items()
                if one.is_required() and other != name
            }
            yield from texts(
                field.annotation,
                f"{key}.{name}",
                lambda value, name=name, needed=needed: build({**needed, name: value}),
            )
    elif annotation is str:
        yield key, build
    else:
        for arg in args:  # unions
            yield from texts(arg, key, build)


BY_PATTERN = {
    "^NVreg_[A-Za-z0-9]+$": "NVreg_Good",
    "^10de:[0-9a-f]{4}$": "10de:2330",
    "^1002:[0-9a-f]{4}$": "1002:74a1",
    "^(8086|1da3):[0-9a-f]{4}$": "8086:0bd5",
    r"^(driver|[0-9]+\.[0-9]+)$": "driver",
    "^[0-9A-Fa-f.:]+$": "10.0.0.1",
    r"^[0-9]+(\.[0-9]+){1,3}$": "0.0.51",
    "^/[A-Za-z0-9._/@:+-]*$": "/srv/good",
    kernel.SYSCTL_KEY: "kernel.good",
    kernel.DAY: "2026-12-31",
    UMASK: "027",
    UNIT_STEM: "good",
    "^[0-9]{1,5}(-[0-9]{1,5})?$": "443",
    r"^[0-9A-Fa-f:][0-9A-Fa-f.:]*(/[0-9]{1,3})?$": "10.0.0.0/24",
}
"""What `good` gives for texts that take no word."""


def whole(field: FieldInfo) -> Any:
    """Return a field's annotation with its grammar."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def good(annotation: Any) -> Any:
    """Return some value that an annotation of a dictionary's key or value accepts."""
    while get_origin(annotation) is Annotated:
        patterns = [getattr(one, "pattern", None) for one in get_args(annotation)[1:]]
        if known := [BY_PATTERN[one] for one in patterns if one in BY_PATTERN]:
            return known[0]
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is list:
        return [good(get_args(annotation)[0])]
    if get_origin(annotation) in (Literal, Union, UnionType):
        first = get_args(annotation)[0]
        return first if get_origin(annotation) is Literal else good(first)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return {name: good(whole(field)) for name, field in fields if field.is_required()}
    return {str: "good", int: 1, bool: True}.get(annotation, {})


BESIDE = {"network.services.0": {"network": {"trusted": {"fabric": ["10.0.0.0/24"]}}}}
"""What must be asked, too, for any value to be good."""


def beside(key: str, build: Build) -> Build:
    return lambda value: merged((BESIDE.get(key, {}), build(value)))


PLACES = {
    key: beside(key, build)
    for layer in LAYERS
    for key, build in texts(
        layer.settings_model, layer.name, lambda value, layer=layer: {layer.name: value}
    )
}


def refused(data: dict[str, Any], key: str) -> bool:
    try:
        validate("site.py", {"node1": data})
    except SettingsError as error:
        keys = {problem.key for problem in error.problems}
        dotted = re.sub(r"\[key\].*", "", key)
        assert any(found.startswith(dotted) for found in keys), (dotted, keys)
        return True
    return False


def test_every_layer_was_walked() -> None:
    """A walk that finds nothing would prove nothing."""
    assert {"ssh.allow_users.0", "ssh.root_login", "system.users[key]", "system.timezone"} < {
        *PLACES
    }
    assert {"system.users.good.keys.0", "system.users.good.sudo", "system.hostname"} < {*PLACES}
    assert {place.split(".")[0].split("[")[0] for place in PLACES} == {
        layer.name for layer in LAYERS
    }


@pytest.mark.parametrize("key", PLACES)
def test_text_is_refused(key: str) -> None:
    accepted = [name for name, text in PAYLOADS.items() if not refused(PLACES[key](text), key)]
    assert accepted == [name for name in PAYLOADS if (key, name) in INERT]


# What begins well must not end badly; a good value for each place is looked for below.
SAMPLES = (
    "good",
    "/srv/good",
    "/dev/good",
    "good.example/kind",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1cNJQHhVbGWL5Qkz0sYvNhmIxbqkd1jkR7Rl4TgpEJ ops@example",
    *("580", "13.1", ">=580,<600", "A" * 40, "10de:2330", "6.12.73+deb13-amd64", "NVreg_Good"),
    *("1g.10gb", "10.0.0.1", "good.service", "25W", "6.2.1", "0.0.51"),
    *("https://mirror.example/debian13/x86_64/", "https://mirror.example/key.pub"),
    *("kernel.good", "2026-12-31"),
    *("1002:74a1", "7.14", "https://mirror.example/rocm", "8086:0bd5", "027", "443"),
    *("good.example", "/srv/good/models", "Sat,Sun 22:00-04:00"),
)
ENDINGS = (
    *(";id", "$(id)", "`id`", "|id", "&id", ">x", "\n", "\nx", "\r", "\x00", "\x1b", "\t"),
    *("'", '"', "\\", "{{x}}", "{%x%}", "%s", "\u0430", "\u202e", "#x", "!", "<x", "a" * 5000),
)
CLOSED = (
    *("Etc/UTC", "no", "remove", "enforce", "never"),
    *("open", "refuse", "off", "none", "default", "cdi", "libraries"),
    *("kernel", "spx", "nps1", "tools", "slurm", "core", "unlimited", "passwords"),
    *("auto", "tcp", "monitoring", "rdma", "rotate", "rsyslog", "install", "held", "on-change"),
)
"""Values of keys that only take what is on a list."""
INERT_ENDINGS: dict[tuple[str, str], str] = {}


def accepted(key: str, samples: tuple[str, ...]) -> str | None:
    for sample in samples:
        try:
            validate("site.py", {"node1": PLACES[key](sample)})
        except SettingsError:
            continue
        return sample
    return None


@pytest.mark.parametrize("key", PLACES)
def test_good_text_with_a_bad_end_is_refused(key: str) -> None:
    sample = accepted(key, SAMPLES) or accepted(key, CLOSED)
    assert sample, f"{key}: no sample of this test is accepted; add one to SAMPLES"
    passed = [
        end
        for end in ENDINGS
        if (key, end) not in INERT_ENDINGS and not refused(PLACES[key](sample + end), key)
    ]
    assert passed == []


@pytest.mark.parametrize("key", PLACES)
def test_no_value_can_be_taken_for_an_option(key: str) -> None:
    for sample in (*SAMPLES, *CLOSED, "x", "o=x", "oProxyCommand=x"):
        for dash in ("-", "--", "\u2010", "\u2212"):
            assert refused(PLACES[key](dash + sample), key)


# Connection keys are pyinfra's; they go to paramiko and to open(), never to a shell.
TO_PARAMIKO = {
    "ssh_password": "a password may hold anything; sent over the encrypted connection",
    "ssh_key_password": "a password may hold anything; used in this process only",
    "ssh_key": "a file name that is opened in this process",
    "ssh_config_file": "a file name that is opened in this process",
    "ssh_known_hosts_file": "a file name that is opened in this process",
}
CONTROL = ("line", "last line", "carriage return", "nul", "escape", "tab", "very long", "empty")


CONNECTION_TEXTS = [
    key.removeprefix(".")
    for key, _ in texts(Connection, "", lambda value: value)
    # arguments of paramiko's, passed on in this process
    if not key.startswith(".ssh_paramiko_connect_kwargs")
]
INERT_IN_CONNECTION = {
    ("ssh_user", "backslash"): "DOMAIN\\user; a field of the ssh protocol",
}


@pytest.mark.parametrize("key", CONNECTION_TEXTS)
def test_connection_text_is_refused(key: str) -> None:
    accepted = [name for name, text in PAYLOADS.items() if not refused({key: text}, key)]
    assert accepted == [
        name
        for name in PAYLOADS
        if (key in TO_PARAMIKO and name not in CONTROL) or (key, name) in INERT_IN_CONNECTION
    ]


def test_every_inert_text_has_a_reason_and_a_place() -> None:
    assert all(INERT.values())
    assert {key for key, _ in INERT} <= PLACES.keys()
