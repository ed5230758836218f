# shellcheck shell=dash
# Kernels from where unattended upgrades come, apart from the rest: apt asks `transaction` about each,
# and one that is refused keeps nothing else back. For this one run, what keeps kernels away is not
# read.
apt_parts=/etc/apt/apt.conf.d apart=91nodeproof-updates-kernels

kernels() {
    local folder at
    folder=$(mktemp -d /run/nodeproof-kernels.XXXXXX) || return 1
    trap 'rm -rf -- "$folder"' EXIT
    chmod 755 "$folder" && mkdir "$folder/parts" || return 1
    for at in "$apt_parts"/*; do
        [ "${at##*/}" = "$apart" ] || ln -s -- "$at" "$folder/parts/" || return 1
    done
    sed -n 's/^\(.*\)::Package-Blacklist::/\1::Package-Whitelist::/p' "$apt_parts/$apart" \
        >"$folder/parts/99only-kernels" && [ -s "$folder/parts/99only-kernels" ] || {
        told "$apt_parts/$apart does not name kernels: run nodeproof apply"
        return 1
    }
    printf 'Dir::Etc::Parts "%s/parts/";\n' "$folder" >"$folder/apt.conf"
    APT_CONFIG=$folder/apt.conf unattended-upgrade -v --no-minimal-upgrade-steps # with its headers, or not at all
}
