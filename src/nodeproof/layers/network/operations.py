"""Let ways in through ufw, where it owns the machine."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import FactBase, QuoteString, operation
from typing_extensions import override

from nodeproof.layers.network.adopted import COMMENT, ours, there
from nodeproof.operations import journal
from nodeproof.operations.journal import Change, Item, Kind

FILES = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules")
LIVE = Item(
    Kind.CUSTOM,
    "the rules of ufw\tiptables -S ufw-user-input; ip6tables -S ufw6-user-input\tufw reload",
)
"""Named first, so that it is restored last: after the files that ufw reads."""


class UfwAdded(FactBase[list[str]]):
    """
    The rules that were added to ufw, by us or by others.

    .. code:: python

        ["ufw allow 22/tcp", "ufw allow 443/tcp comment 'nodeproof'"]
    """

    default = list
    called = "the rules of ufw"

    @override
    def command(self) -> str:
        """Return a command that prints one rule a line."""
        return "! command -v ufw >/dev/null || LC_ALL=C ufw show added | grep '^ufw ' || true"

    @override
    def process(self, output: list[str]) -> list[str]:
        """Take the lines as they are."""
        return output


@operation()
def allowed(rules: Sequence[str]) -> Generator[Change]:
    """
    Make ufw have these rules of ours, and no others of ours; those of the site stay.

    + rules: as ``ufw show added`` prints them, without comments

    **Example:**

    .. code:: python

        allowed(name="Open the ports in ufw", rules=["allow 443/tcp"])
    """

    added: list[str] = host.get_fact(UfwAdded)
    own = ours(added)
    touches = [LIVE, *(journal.file(path) for path in FILES)]
    # A rule that the site has is not added again: ufw would make it ours.
    missing = [rule for rule in rules if rule not in there(added)]
    for rule in missing:
        words = [QuoteString(word) for word in (*rule.split(), "comment", COMMENT)]
        yield Change("ufw", *words, ">&2", touches=touches)
    gone = [rule for rule in own if rule not in rules]
    for rule in gone:
        words = [QuoteString(word) for word in rule.split()]
        yield Change("ufw", "--force", "delete", *words, ">&2", touches=touches)
    if not missing and not gone:
        host.noop("ufw has the rules as asked")
