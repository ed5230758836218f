"""Whether a system is an image, in which nothing is installed: a part of two facts' scripts."""

from __future__ import annotations

IMAGES = ("ubuntu-core", "flatcar", "bottlerocket", "cos", "talos", "nixos")
"""IDs of os-release whose system is an image, or is built as a whole from a description."""

FIND_IMAGE = (
    r"""
image=
if [ -e /run/ostree-booted ]; then image=ostree
else
  case $( ( . /etc/os-release; echo "$ID" ) 2>/dev/null ) in """
    + "|".join(IMAGES)
    + r""") image=os-release;; esac
fi
[ -n "$image" ] || case $(awk '$2 == "/" { root = $4 } $2 == "/usr" { usr = $4 }
  END { print "," (usr == "" ? root : usr) "," }' /proc/mounts 2>/dev/null) in
  *,ro,*) image="a read-only /usr";; esac
"""
)
"""Shell that puts what shows it into `image`; empty where packages can be installed.

Sources: ostree(1) for /run/ostree-booted, which rpm-ostree and bootc have, too; os-release(5).
"""
