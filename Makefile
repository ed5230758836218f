# make demo: a machine provisioned, hardened and proven.  make test: every tier.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
PYTEST := $(RUN) pytest
# It sees that nothing stays behind on this machine, so nothing else may run beside it.
ALONE := tests/nodes/test_lab_container.py
FAST := tests/unit tests/test_operations.py tests/test_facts.py

.PHONY: demo test lint fast nodes machines faults judge thorough test-dkms test-grub test-hardened test-vagrant record-nvidia-ctk record-amd-ctk setup-% clean

demo: setup-demo
	$(RUN) nodeproof demo

test: lint fast nodes machines

lint: setup-fast
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/codespell
	$(VENV)/bin/mypy
	$(VENV)/bin/python -c 'from nodeproof.operations import journal as j; print(j.program().decode())' \
		| $(VENV)/bin/shellcheck --shell=dash -
	$(VENV)/bin/shellcheck --shell=dash src/nodeproof/scripts/*.sh

fast: setup-fast
	$(PYTEST) -n 2 --cov --cov-report=term:skip-covered $(FAST)

nodes: setup-nodes
	$(PYTEST) -m nodes $(ALONE)
	$(PYTEST) -m "nodes and not adopted" -n 4 --dist loadgroup --durations=12 --ignore=$(ALONE) tests/nodes

# Random changes, edits and crashes of the journal on the node: EXAMPLES of each kind.
EXAMPLES ?= 1000
thorough: setup-fast
	NODEPROOF_THOROUGH=$(EXAMPLES) $(PYTEST) -n 2 tests/unit/test_journal_guard.py \
		tests/unit/test_journal_properties.py

machines: setup-machines
	$(PYTEST) -m machines -n 2 --dist loadfile --durations=8 tests/machines

# Hours on two emulated machines; FAULTS="--seed 1 --kinds power_reset" for some of it.
faults: setup-machines
	$(RUN) tests.faults $(FAULTS)

# OpenSCAP, Lynis and ssh-audit of a hardened machine; JUDGE="--containers" for a part of it, quickly.
judge: setup-machines
	$(RUN) tests.judges $(JUDGE)

# NVIDIA's open module from Debian: a kernel that it builds for, two that it does not.
test-dkms: setup-nodes
	$(PYTEST) -m dkms -s tests/nodes/test_dkms_driver.py

# The hardening layers on machines, a quarter of an hour each; ufw and firewalld, adopted.
test-hardened: setup-machines setup-nodes
	$(PYTEST) -m "hardened or adopted" -n 2 --dist loadfile tests/machines tests/nodes/test_network_layer.py

test-grub: setup-grub
	$(PYTEST) -m grub -s tests/machines/test_reboot_grub.py

test-vagrant: setup-vagrant
	$(PYTEST) -m vagrant -s tests/machines/test_vagrant.py

# What NVIDIA's own tool makes of our samples; needs Go, builds for some minutes.
record-nvidia-ctk:
	sh tests/recorded/nvidia-ctk/record.sh

record-amd-ctk:
	sh tests/recorded/amd-ctk/record.sh

setup-%:
	@PYTHON=$(PYTHON) sh tools/setup $* $(VENV)

clean:
	rm -rf $(VENV) dist build reports .coverage .mypy_cache .ruff_cache .pytest_cache
