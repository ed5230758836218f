"""What a Jetson has: NVIDIA's repositories for it, and its programs, as others published them.

The metapackages need each other in one version, as the lists of r36.4 have it. The programs keep
what they are set to below /run, and say what NVIDIA's say.
"""

from __future__ import annotations

from tests.repositories.deb import Package

RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
LIST = "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list"
CONF = """# FORMAT: < POWER_MODEL ID=id_num NAME=mode_name >
< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=3 NAME=7W >
< PM_CONFIG DEFAULT=1 >
"""
NVPMODEL = r"""#!/bin/sh
now=$(cat /run/jetson-mode)
name=$(sed -n "s/^< POWER_MODEL ID=$now NAME=\(.*\) >/\1/p" /etc/nvpmodel.conf)
case $1 in
-q) printf 'NV Power Mode: %s\n%s\n' "$name" "$now";;
-m) [ "$2" != 3 ] || {
      echo "NVPM WARN: Reboot required for changing to this power mode: $2"
      echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
      read -r said; case $said in YES|yes) touch /run/jetson-rebooted;; esac
      echo "NVPM ERROR: optMask is 1, no request for power mode"; exit 234; }
    echo "$2" >/run/jetson-mode; mkdir -p /var/lib/nvpmodel
    printf 'pmode:%04d' "$2" >/var/lib/nvpmodel/status;;
esac
"""
CLOCKS = r"""#!/bin/sh
at=/run/jetson-clocks
case ${1:-} in
--show) read -r low <$at
  echo "cpu0:  Governor=schedutil MinFreq=$low MaxFreq=1344000 CurrentFreq=960000 IdleStates:"
  echo "GPU MinFreq=$low MaxFreq=1344000 CurrentFreq=1344000"; nvpmodel -q;;
--store) [ ! -e "$2" ] || read -r answer; cp $at "$2";;
--restore) cp "$2" $at;;
'') echo 1344000 >$at;;
esac
"""


def common() -> list[Package]:
    """Return what the repository has that all boards have in common."""
    return [one for version in ("6.1+b123", "6.2+b77", "6.2.1+b38") for one in jetpack(version)]


def jetpack(version: str) -> list[Package]:
    """Return the packages of one JetPack."""
    runtime, dev = (f"nvidia-jetpack-{one} (= {version})" for one in ("runtime", "dev"))
    return [
        Package("nvidia-jetpack", version, depends=f"{runtime}, {dev}"),
        Package("nvidia-jetpack-runtime", version, depends=f"nvidia-cuda (= {version})"),
        Package("nvidia-jetpack-dev", version, depends=f"nvidia-cuda-dev (= {version})"),
        Package("nvidia-cuda", version),
        Package("nvidia-cuda-dev", version, depends=f"nvidia-cuda (= {version})"),
    ]
