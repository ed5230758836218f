"""The running machines of the Vagrantfile (`vagrant up`); docs/howto/vagrant.md tells how."""

import os
from pathlib import Path

_project = Path(__file__).resolve().parents[1]
os.environ.setdefault("VAGRANT_CWD", str(_project))  # so that it works from any folder

# These machines come and go on the same addresses: their keys stay out of ~/.ssh/known_hosts.
nodes = [("@vagrant", {"ssh_known_hosts_file": str(_project / ".vagrant" / "known_hosts")})]
