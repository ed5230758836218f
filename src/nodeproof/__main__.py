"""Run nodeproof: ``nodeproof`` or ``python -m nodeproof``."""

from nodeproof.cli.main import main

if __name__ == "__main__":
    main()
