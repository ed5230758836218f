"""Passwords as shadow holds them: whether there is one, how it is kept, how old it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.uncounted import Uncounted

# Of the hash only its method leaves the node: what stands between the first two dollar signs.
_COMMAND = r"""
today=$(($(date +%s) / 86400))
getent shadow | awk -F : -v OFS=: -v today="$today" '
    function state(hash) { return hash == "" ? "empty" : hash ~ /^[!*]/ ? "locked" : "set" }
    function method(hash, part) { sub(/^!+/, "", hash); split(hash, part, "$"); return part[2] }
    { print $1, state($2), method($2), $3 == "" ? "" : today - $3, $4, $5, $6, $7,
        $8 == "" ? "" : $8 - today, $3 }'
"""


@dataclass(frozen=True)
class PasswordData:
    """One line of shadow without its secret; days, or None where nothing is said."""

    state: str
    """set, empty or locked."""
    method: str = ""
    """As crypt(5) names it: y is yescrypt, 6 is SHA-512."""
    age: Annotated[int | None, Uncounted("it grows by itself")] = None
    """Days since it was changed."""
    min_days: int | None = None
    max_days: int | None = None
    warn_days: int | None = None
    inactive_days: int | None = None
    left: Annotated[int | None, Uncounted("it shrinks by itself")] = None
    """Days until the account itself expires."""
    changed: int | None = None
    """Days since 1970 on which it was changed; 0 asks for a new one at the next login."""

    def expired(self, max_days: int | None = None) -> bool:
        """Tell whether it is refused now, or would be with another greatest age."""
        limit = self.max_days if max_days is None else max_days
        if self.left is not None and self.left <= 0:
            return True
        if self.state != "set" or self.age is None:
            return False
        return self.changed == 0 or (limit is not None and limit >= 0 and self.age > limit)


class Shadow(FactBase[dict[str, PasswordData]]):
    """
    Accounts with the state of their passwords, never with a hash.

    .. code:: python

        {"alice": PasswordData(state="set", method="y", age=12, max_days=365, ...)}
    """

    default = dict
    called = "the state of passwords"

    @override
    def requires_command(self) -> str:
        """Return the tool that knows all account databases."""
        return "getent"

    @override
    def command(self) -> str:
        """Return a script that prints a line an account."""
        return _COMMAND

    @override
    def process(self, output: list[str]) -> dict[str, PasswordData]:
        """Parse the lines."""
        found = {}
        for line in output:
            name, state, method, *numbers = line.split(":")
            age, low, high, warn, inactive, left, changed = (
                int(number) if number else None for number in numbers
            )
            found[name] = PasswordData(state, method, age, low, high, warn, inactive, left, changed)
        return found

    @staticmethod
    def things(value: dict[str, PasswordData]) -> dict[str, PasswordData]:
        """Return each password's state, by its account."""
        return {f"the password of {name}": one for name, one in value.items()}
