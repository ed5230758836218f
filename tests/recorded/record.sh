#!/bin/sh
# Record what a machine with NVIDIA GPUs says, for this folder: record.sh FOLDER, as root.
# Serial numbers and UUIDs are replaced by zeros, in place, before anything is kept.
set -u
to=${1:?record.sh FOLDER}
mkdir -p "$to" || exit 1
keep() {
  name=$1; shift
  command -v "$1" >/dev/null 2>&1 || { echo "$1 is not installed" >&2; return; }
  "$@" 2>&1 </dev/null | sed -E \
    -e 's/GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/GPU-00000000-0000-0000-0000-000000000000/g' \
    -e 's#<(serial|board_serial|chassis_serial_number|pdi|gpu_fabric_guid|clusterUuid)>[^<]+<#<\1>0<#g' \
    -e 's/(Serial Number: *)[0-9]+/\10/' >"$to/$name"
}
keep smi.xml nvidia-smi -q -x
keep nvlink.txt nvidia-smi nvlink --status
keep topology.txt nvidia-smi topo -m
keep lspci.txt lspci -nnk -d 10de:
keep fabric-manager.txt nv-fabricmanager --version
keep container.txt nvidia-container-cli info
keep version.txt cat /proc/driver/nvidia/version
keep information.txt sh -c 'cat /proc/driver/nvidia/gpus/*/information'
keep modinfo.txt modinfo nvidia
keep kernel.log sh -c '{ journalctl -k -b -q --no-pager | grep . || dmesg; } |
  grep -E "NVRM|SXid|nvidia"'
ls -l "$to"
