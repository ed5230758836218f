"""An attempt in a plain pyinfra run: pyinfra INVENTORY tests/lockouts/plain.py."""

from __future__ import annotations

from nodeproof.engine.adapter.guard import closed, confirmed
from nodeproof.engine.site import run
from tests.lockouts.attempts import attempt, impatient

impatient()
run(layers="attempt")
attempt()
confirmed(name="Confirm over a new connection")
closed(name="Close the journal")
