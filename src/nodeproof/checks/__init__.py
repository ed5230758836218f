"""Run the layers' checks with pytest and testinfra, over the connections that apply uses."""

from nodeproof.engine.adapter import prepare_process

prepare_process()  # also in plain pytest, before anything that blocks is imported
