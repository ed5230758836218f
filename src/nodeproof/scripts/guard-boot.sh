# shellcheck shell=dash
# Whether the machine that runs is whole: what the sets name is installed, built for this kernel, and
# loaded. It only looks and says; nothing waits for it.
motd=/run/motd.d/nodeproof-update-guard

boot() { # say it in the log, and to whoever logs in
    local new
    new=$(dirname -- "$motd")/.nodeproof-update-guard.$$
    mkdir -p -- "$(dirname -- "$motd")" || return 1
    if status >"$new"; then
        rm -f -- "$new" "$motd"
        echo 'what is guarded is whole'
        return 0
    fi
    cat "$new"
    { echo 'nodeproof: what belongs together on this machine does not match:' && sed 's/^/  /' "$new"; } >"$new.motd"
    rm -f -- "$new" && chmod 644 "$new.motd" && mv -f -- "$new.motd" "$motd"
    return 1
}

status() { # a line for each thing that is wrong; fails where there is one
    local found
    found=$({
        unknown_words
        _packages
        _beside
        _modules
        _loaded
    })
    [ -n "$found" ] || return 0
    printf '%s\n' "$found"
    return 1
}

_packages() {
    local stack name version now
    words package | while read -r stack name version; do
        now=$(installed "$name") || now=
        [ "$now" != "$version" ] || continue
        echo "$name is ${now:-not installed}, $version is guarded ($stack): run nodeproof apply"
    done
}
_beside() {
    local stack name
    words beside | while read -r stack name; do
        name=$(filled "$name" "$(uname -r)")
        installed "$name" >/dev/null || echo "$name is not installed, this kernel's own ($stack): install it"
    done
}
_own_modules() { # the kernel of a container is not its own: nothing was built for it
    if [ -d "/lib/modules/$(uname -r)" ]; then modules; else words module | grep -v ' \* \*$'; fi
}
_modules() {
    local stack name version why log
    _own_modules | while read -r stack name version; do
        [ "$(dkms_is "$name" "$version" "$(uname -r)" </dev/null)" != installed ] || continue
        why="run dkms autoinstall"
        dkms_headers "$(uname -r)" || why="install the headers of this kernel"
        if log=$(dkms_log "$name" "$version" "$(uname -r)"); then
            why="its build failed: $(dkms_said "$log" | one_line); boot the kernel before, and remove this one"
        fi
        echo "$name $version is not built for the running kernel $(uname -r) ($stack): $why"
    done
}
_loaded() {
    local stack name version now
    words loaded | while read -r stack name version; do
        if [ ! -d "/sys/module/$name" ]; then
            echo "the kernel module $name is not loaded ($stack): see journalctl -b -k --grep $name"
            continue
        fi
        now=$(cat "/sys/module/$name/version" 2>/dev/null) || now='of a version that it does not say'
        [ "$now" = "$version" ] ||
            echo "the kernel module $name is $now, $version is guarded ($stack): reboot, or load it anew"
    done
}
