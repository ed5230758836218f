"""Which entry of GRUB's menu boots."""

from __future__ import annotations

import pytest

from nodeproof.facts.grub import Entry, Menu, menu

GENERATED = """\
   set default="${next_entry}"
   set default="DEFAULT"
function savedefault {
}
menuentry 'Debian' --class debian $menuentry_id_option 'simple' {
  linux /boot/vmlinuz-2 root=/dev/vda1 ro
}
submenu 'Advanced options' $menuentry_id_option 'advanced' {
  menuentry "Debian, with Linux 2" $menuentry_id_option 'id-2' {
    linux /boot/vmlinuz-2 root=/dev/vda1 ro
  }
  menuentry 'Debian, with Linux 1' $menuentry_id_option 'id-1' {
    linux\t/boot/vmlinuz-1 root=/dev/vda1 ro
  }
}
menuentry 'Memory test' --id memtest {
  linux16 /boot/memtest86+.bin
}
"""


def generated(default: str) -> Menu:
    return menu(GENERATED.replace("DEFAULT", default).splitlines())


@pytest.mark.parametrize(
    ("default", "environment", "wanted"),
    [
        ("0", {}, "/boot/vmlinuz-2"),
        ("1>1", {}, "/boot/vmlinuz-1"),
        ("2", {}, "/boot/memtest86+.bin"),
        ("memtest", {}, "/boot/memtest86+.bin"),
        ("advanced>id-1", {}, "/boot/vmlinuz-1"),
        ("Advanced options>Debian, with Linux 1", {}, "/boot/vmlinuz-1"),
        ("1>id-1", {}, "/boot/vmlinuz-1"),
        ("nothing", {}, "/boot/vmlinuz-2"),
        ("0", {"saved_entry": "1>1"}, "/boot/vmlinuz-2"),
        ("0", {"next_entry": "1>1"}, "/boot/vmlinuz-1"),
        ("${saved_entry}", {"saved_entry": "1>1"}, "/boot/vmlinuz-1"),
        ("${saved_entry}", {"saved_entry": "1>1", "next_entry": "simple"}, "/boot/vmlinuz-2"),
        ("${saved_entry}", {"saved_entry": "1>1", "next_entry": ""}, "/boot/vmlinuz-1"),
        ("${saved_entry}", {"saved_entry": ""}, "/boot/vmlinuz-2"),
        ("${saved_entry}", {}, "/boot/vmlinuz-2"),
    ],
)
def test_what_boots(default: str, environment: dict[str, str], wanted: str) -> None:
    entry = generated(default).chosen(environment)
    assert entry is not None
    assert entry.image == wanted


def test_a_name_that_chooses_whatever_stands_around() -> None:
    assert [entry.name for entry in generated("0").entries] == [
        "simple",
        "advanced>id-2",
        "advanced>id-1",
        "memtest",
    ]


def test_saved_and_once() -> None:
    assert generated("${saved_entry}").saved
    assert not generated("0").saved
    assert generated("0").once
    assert not menu(['set default="0"']).once


def test_a_file_without_a_menu() -> None:
    found = menu(["set root=(hd0,msdos1)", "linux /vmlinuz root=/dev/vda1 ro", "boot"])
    assert found.entries == (Entry((("0", "", ""),), "/vmlinuz"),)
    assert menu([]).chosen({}) is None


def test_a_quote_that_does_not_end() -> None:
    (entry,) = menu(["menuentry 'Debian {", "linux /boot/vmlinuz-1", "}"]).entries
    assert entry.image == "/boot/vmlinuz-1"
