#!/bin/sh
# Record what NVIDIA's own tool makes of the files in before/: make record-nvidia-ctk
# It is built from its Go module, unless NVIDIA_CTK says where one is.
set -eu
VERSION=v1.20.1
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
if [ -z "${NVIDIA_CTK:-}" ]; then
    GOBIN=$work go install "github.com/NVIDIA/nvidia-container-toolkit/cmd/nvidia-ctk@$VERSION"
    NVIDIA_CTK=$work/nvidia-ctk
fi
rm -rf after
mkdir after
mkdir "$work/conf.d"
for before in before/*; do
    name=${before#before/}
    runtime=${name%%-*}
    cp -- "$before" "$work/$name"
    set --
    [ "$runtime" = docker ] || set -- --drop-in-config="$work/conf.d/99-nvidia.toml"
    "$NVIDIA_CTK" --quiet runtime configure --runtime="$runtime" --config="$work/$name" \
        --cdi.enabled "$@"
    cp -- "$work/$name" "after/$name"
    [ "$runtime" = docker ] || mv -- "$work/conf.d/99-nvidia.toml" "after/$name.drop-in"
done
sed -i "s|$work/conf.d|/etc/containerd/conf.d|" after/containerd-*
