"""What is not looked into: what other machines have, what is made anew, what containers own."""

from __future__ import annotations

LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs")
"""File systems of the node's own disks; the root is looked into whatever it is."""
STORES = (
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet"),
    *("/var/lib/rancher", "/var/lib/crio", "/var/lib/enroot", "/var/lib/machines"),
    *("/var/lib/private", "/var/cache/private", "/var/lib/nodeproof/runs", "/snap"),
)
"""What engines and units own there is other systems' files, with other systems' users."""
IN_HOMES = ("*/.local/share/containers", "*/.local/share/docker", "*/.local/share/enroot")
