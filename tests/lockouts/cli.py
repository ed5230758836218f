"""An attempt by the command line: nodeproof with the attempt in place of its layers."""

from __future__ import annotations

from nodeproof.__main__ import main
from nodeproof.engine import run as engine
from tests.lockouts.attempts import attempt, impatient

if __name__ == "__main__":
    impatient()
    engine.deploy_layers = lambda settings, layers, facts, distribution: attempt()
    main()
