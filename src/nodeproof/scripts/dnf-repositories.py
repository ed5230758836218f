"""Print each repository that dnf takes packages from, and whom it trusts for it, a line each.

ADDRESS|FILE|GPGCHECK|REPO_GPGCHECK|KEYS; runs on the node, in Python 3.6 and later.
"""

import sys

import dnf

base = dnf.Base()
base.conf.read()
release = dnf.rpm.detect_releasever(base.conf.installroot)
base.conf.substitutions["releasever"] = release or ""
base.conf.substitutions.update_from_etc(base.conf.installroot)
base.read_all_repos()
for repo in base.repos.iter_enabled():
    checks = (str(int(repo.gpgcheck)), str(int(repo.repo_gpgcheck)))
    for address in repo.baseurl:
        row = (address, str(repo.repofile), *checks, " ".join(repo.gpgkey))
        sys.stdout.write("|".join(row) + "\n")
