"""A kernel module of a few lines that DKMS builds in a second, and one that no compiler takes."""

from __future__ import annotations

GOOD = 'MODULE_LICENSE("GPL");\nMODULE_VERSION("1.0");\n'
# A function that wants more, as when a stable kernel gave pci_resize_resource another argument.
BAD = f"""{GOOD}int tried(struct pci_dev *device);
int tried(struct pci_dev *device)
{{
        return pci_resize_resource(device);
}}
"""
COMPLAINT = "error: too few arguments to function"


def files(name: str, code: str, version: str = "1.0") -> dict[str, str]:
    """Return the files below /usr/src of a module, by path."""
    folder = f"/usr/src/{name}-{version}"
    return {
        f"{folder}/dkms.conf": (
            f'PACKAGE_NAME="{name}"\nPACKAGE_VERSION="{version}"\n'
            f'BUILT_MODULE_NAME[0]="{name}"\nDEST_MODULE_LOCATION[0]="/updates"\n'
            'AUTOINSTALL="yes"\n'
            'MAKE[0]="make -C /lib/modules/${kernelver}/build M=${dkms_tree}/'
            '${PACKAGE_NAME}/${PACKAGE_VERSION}/build modules"\n'
        ),
        f"{folder}/Makefile": f"obj-m := {name}.o\n",
        f"{folder}/{name}.c": f"#include <linux/module.h>\n#include <linux/pci.h>\n{code}",
    }
