"""Run the layers' checks with pytest and testinfra, over the connections that apply uses."""
