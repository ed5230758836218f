"""Manage a table of nftables of one's own; the tables of others are left alone."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import OperationValueError, QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.facts.nftables import NftTable, NftTableData
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes


@operation()
def loaded(family: str, table: str, path: str, after: OperationMeta) -> Generator[Change]:
    """
    Make the kernel have a table as its file says, in one transaction.

    The running table is kept in the journal: it comes back live where nobody confirms the change,
    and when the run is taken back.

    + family: ip, ip6, inet...
    + table: its name
    + path: a file that replaces this table, and nothing else
    + after: the operation that writes it

    **Example:**

    .. code:: python

        nftables.loaded(name="Load the firewall", family="inet", table="nodeproof",
                        path="/etc/nftables.d/nodeproof.nft", after=written)
    """

    if not path.startswith("/"):
        raise OperationValueError(f"nftables.loaded: {path} is not an absolute path")
    now: NftTableData = host.get_fact(NftTable, family=family, table=table, path=path)
    if now.loaded and not changes(after):
        host.noop(f"the table {family} {table} is as its file says")
        return
    yield Change(
        *("/usr/sbin/nft", "-c", "-f", QuoteString(path), "&&"),
        *("/usr/sbin/nft", "-f", QuoteString(path)),
        touches=[Item(Kind.NFT, f"{family} {table}")],
    )
