#!/bin/sh
# Record what AMD's own tool makes of Docker's files in ../nvidia-ctk/before: make record-amd-ctk
# It is built from a clone, because Go's proxy has no such module, unless AMD_CTK says where one is.
set -eu
VERSION=v1.3.0
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
if [ -z "${AMD_CTK:-}" ]; then
    git clone --quiet --depth 1 --branch "$VERSION" https://github.com/ROCm/container-toolkit "$work/src"
    AMD_CTK=$work/amd-ctk
    (cd "$work/src/cmd/amd-ctk" && CGO_ENABLED=0 go build -o "$AMD_CTK" .)
fi
rm -rf after
mkdir after
for before in ../nvidia-ctk/before/docker-*; do
    cp -- "$before" "after/${before##*/}"
    "$AMD_CTK" runtime configure --config-path="after/${before##*/}" >/dev/null
done
