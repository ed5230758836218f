"""Software stacks for GPUs that come with a cloud's image or a vendor's system, by their marks."""

from __future__ import annotations

MARKS = {
    "/opt/aws/dlami": "an AWS Deep Learning AMI",
    "/opt/azurehpc/component_versions.txt": "an Azure HPC image",
    "/opt/deeplearning/metadata/env_version": "a Google Deep Learning VM image",
    "/var/lib/dpkg/info/lambda-stack-cuda.list": "Lambda Stack",
    "/var/lib/dpkg/info/lambda-server.list": "Lambda Stack",
    "/etc/dgx-release": "DGX OS",
}
"""What is there, to what it shows.

Sources: the greeting of the AMIs, which names /opt/aws/dlami/info; Azure/azhpc-images, which writes
component_versions.txt; GoogleCloudPlatform/vertex-ai-samples, which looks for env_version; Lambda's
instructions, which install these packages; NVIDIA's own MLPerf results, which read dgx-release.
"""

FIND_STACK = "".join(
    f"[ -e {path} ] && say preinstalled '{title}'\n" for path, title in MARKS.items()
)
"""Shell that says which of them there are."""
