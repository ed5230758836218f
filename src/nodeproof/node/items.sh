# shellcheck shell=dash
# Kinds of state. Each kind has three functions: state_KIND prints its state now in one line,
# save_KIND keeps what is needed to restore it, restore_KIND makes it what it was. An item is a
# line `kind<TAB>name`; $1 is always the name, $2 the prefix of the files that keep it.
# later_KIND, where there is one, is called after all items are restored: whoever read the state
# takes it up again.

# --- file: a file, link, directory or nothing, with owner, mode, ACL, attributes and label --------

LARGEST_KB=${NODEPROOF_LARGEST_KB:-65536} # a larger file is refused: see docs/reference/journal.md

_tar() { tar --numeric-owner --acls --xattrs --xattrs-include='*' --selinux --no-recursion -P "$@"; }

state_file() {
    if [ -L "$1" ] || [ -f "$1" ] || [ -d "$1" ]; then
        _tar --format=posix --mtime=@0 --pax-option=exthdr.name=x,delete=atime,delete=ctime \
            -cf - -- "$1" 2>/dev/null | sha256sum | cut -d ' ' -f 1
    elif [ -e "$1" ]; then
        stat -c '%F %a %u %g' -- "$1"
    else
        echo absent
    fi
}

save_file() {
    if [ -L "$1" ] || [ -f "$1" ]; then
        [ -L "$1" ] || [ "$(du -k -- "$1" | cut -f 1)" -le "$LARGEST_KB" ] ||
            die "$1 is larger than $LARGEST_KB KiB; it is not changed, because it could not be kept"
        cp -a -- "$1" "$2.file" && { [ -L "$1" ] || sync -- "$2.file"; }
    elif [ -d "$1" ]; then
        _tar -cf "$2.dir" -- "$1" && sync -- "$2.dir"
    elif [ -e "$1" ]; then
        stat -c '%a %u:%g' -- "$1" >"$2.node" && sync -- "$2.node"
    fi
}

restore_file() {
    local beside mode user
    user=$(_whose "$1")
    if [ "$user" != root ]; then
        _restore_as "$user" "$@"
        return
    fi
    beside=$(beside "$1")
    if [ -L "$2.file" ] || [ -e "$2.file" ]; then
        [ ! -d "$1" ] || [ -L "$1" ] || rmdir -- "$1" || return 1
        [ -d "${1%/*}/" ] || mkdir -p -- "${1%/*}" || return 1
        # On a full disk a link to the kept copy needs no room.
        { cp -a -- "$2.file" "$beside" && { [ -L "$beside" ] || sync -- "$beside"; }; } ||
            { rm -f -- "$beside" && ln -P -- "$2.file" "$beside"; } || return 1
        mv -fT -- "$beside" "$1" && sync -- "${1%/*}/"
    elif [ -e "$2.dir" ]; then
        { [ -d "$1" ] || rm -f -- "$1"; } && _tar -xpf "$2.dir"
    elif [ -e "$2.node" ]; then
        [ ! -e "$1" ] || { read -r mode user <"$2.node" && chown "$user" -- "$1" && chmod "$mode" -- "$1"; }
    elif [ -d "$1" ] && [ ! -L "$1" ]; then
        rmdir -- "$1" 2>/dev/null || keep_aside "$1"
    else
        rm -f -- "$1" "$beside"
    fi
}

# Who else than root decides what a path means: the owner of the first folder above it that is not
# root's. What such a user could have put there, a link to elsewhere, must not be followed as root.
_whose() {
    local folder=$1 user=root
    while folder=${folder%/*} && [ -n "$folder" ]; do
        case $(stat -c %U -- "$folder" 2>/dev/null) in root | '') ;; *) user=$(stat -c %U -- "$folder") ;; esac
    done
    printf %s "$user"
}

_restore_as() { # _restore_as USER PATH PREFIX: with no more rights than the user's
    local mode
    if [ -f "$3.file" ] && [ ! -L "$3.file" ]; then
        mode=$(stat -c %a -- "$3.file")
        # shellcheck disable=SC2016 # expanded there
        runuser -u "$1" -- sh -c 'umask 077; cat >"$1.nodeproof" && chmod "$2" -- "$1.nodeproof" &&
            mv -fT -- "$1.nodeproof" "$1"' sh "$2" "$mode" <"$3.file"
    elif [ -e "$3.dir" ]; then
        _own_again "$2" "$(tar --numeric-owner -P -tvf "$3.dir" | awk '{ print $2; exit }')" || return 1
        mode=$(tar --numeric-owner -P -tvf "$3.dir" | cut -c 2-10 | sed 's/\(...\)\(...\)\(...\)/u=\1,g=\2,o=\3/; s/-//g')
        # shellcheck disable=SC2016 # expanded there
        runuser -u "$1" -- sh -c 'mkdir -p -- "$1" && chmod "$2" -- "$1"' sh "$2" "$mode"
    elif [ ! -e "$3.file" ] && [ ! -L "$3.file" ]; then
        # shellcheck disable=SC2016 # expanded there
        runuser -u "$1" -- sh -c 'if [ -d "$1" ] && [ ! -L "$1" ]; then rmdir -- "$1"; else rm -f -- "$1"; fi' sh "$2"
    else
        return 1
    fi
}

beside() { # beside PATH: where new content of a file waits for its name; no daemon reads dot files
    printf '%s/.%s.nodeproof' "${1%/*}" "${1##*/}"
}

# A directory that the change gave to somebody else: only root can give it back. It is taken by its
# name in the very folder that is meant, so that no link on the way there is followed.
_own_again() ( # _own_again DIRECTORY UID/GID
    [ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %u/%g -- "$1")" != "$2" ] || return 0
    cd -P -- "${1%/*}/" && [ "$(pwd -P)" = "${1%/*}" ] && chown -h -- "${2%/*}:${2#*/}" "./${1##*/}"
)

# --- tree: a directory that did not exist; never deleted, moved aside ------------------------------

state_tree() { if [ -e "$1" ] || [ -L "$1" ]; then echo present; else echo absent; fi; }
save_tree() { :; }
restore_tree() { [ "$(cat "$2.was")" = present ] || keep_aside "$1"; }

keep_aside() { # keep_aside PATH: take it away without losing it
    [ -e "$1" ] || [ -L "$1" ] || return 0
    if [ -d "$1" ] && [ -z "$(find "$1" -mindepth 1 ! -type d -print -quit)" ]; then
        rm -rf -- "$1" # nothing but empty directories
        return
    fi
    local aside=$RUNS/$REVERTING/kept$1
    mkdir -p -- "${aside%/*}" && mv -T -- "$1" "$aside" || return 1
    echo "kept${TAB}$1${TAB}$aside"
}

# --- unit: enabled, masked, running ----------------------------------------------------------------

state_unit() {
    systemctl show -p LoadState,UnitFileState,ActiveState -- "$1" 2>/dev/null |
        sed -n 's/^LoadState=not-found$/absent/p;s/^UnitFileState=//p;
            s/^ActiveState=\(active\|reloading\|activating\)$/running/p;
            s/^ActiveState=\(inactive\|failed\|deactivating\)$/stopped/p' | sort | tr '\n' ' '
}
save_unit() { :; }
restore_unit() {
    local was now
    was=$(cat "$2.was") now=$(state_unit "$1")
    case $was in *absent*) return 0 ;; esac # its package is gone, or goes with its package
    case $now in *absent*) return 0 ;; esac
    case $was in
        *masked*) case $now in *masked*) ;; *) systemctl mask --quiet -- "$1" ;; esac ;;
        *) case $now in *masked*) systemctl unmask --quiet -- "$1" ;; esac ;;
    esac
    case $was in
        *enabled*) case $now in *enabled*) ;; *) systemctl enable --quiet -- "$1" ;; esac ;;
        *disabled*) case $now in *disabled*) ;; *) systemctl disable --quiet -- "$1" ;; esac ;;
    esac
    case $was in
        *running*) case $now in *running*) ;; *) _systemctl start "$1" ;; esac ;;
        *) case $now in *running*) _systemctl stop "$1" ;; esac ;;
    esac
}

# At boot nothing may be waited for: it would wait for the guard's unit, which stands before it.
_systemctl() { # _systemctl VERB UNIT
    case $(systemctl is-system-running 2>/dev/null) in
        initializing | starting) systemctl --no-block "$1" -- "$2" ;;
        *) systemctl "$1" -- "$2" ;;
    esac
}

# --- told: nothing of its own; a unit that must take up what was restored ---------------------------

state_told() { echo -; }
save_told() { :; }
restore_told() { :; }
later_told() {
    if systemctl is-active --quiet -- "$1"; then
        _systemctl reload-or-restart "$1"
    fi
    rm -f -- "$RUN_DIR/pending/$1"
}

# --- apparmor: `path profile`, as the kernel holds it -----------------------------------------------

PROFILES=/sys/kernel/security/apparmor
state_apparmor() {
    sed -n "s/^\(.*\) (\([a-z]*\))\$/\1${TAB}\2/p" $PROFILES/profiles 2>/dev/null |
        awk -F '\t' -v name="${1#* }" '$1 == name { print $2; found = 1 } END { if (!found) print "absent" }'
}
save_apparmor() { :; }
restore_apparmor() {
    [ "$(cat "$2.was")" != absent ] || [ "$(state_apparmor "$1")" = absent ] ||
        printf %s "${1#* }" >$PROFILES/.remove
}
later_apparmor() {
    [ "$(cat "$2.was")" = absent ] || [ ! -e "${1%% *}" ] ||
        apparmor_parser --replace --skip-read-cache --write-cache -- "${1%% *}"
}

# --- sysctl, module: what the running kernel has -----------------------------------------------------

_sysctl() { printf '/proc/sys/%s' "$(printf %s "$1" | tr ./ /.)"; }
state_sysctl() { cat "$(_sysctl "$1")" 2>/dev/null || echo absent; }
save_sysctl() { :; }
restore_sysctl() {
    [ ! -e "$(_sysctl "$1")" ] || [ "$(cat "$2.was")" = absent ] || cat "$2.was" >"$(_sysctl "$1")"
}

state_module() { if [ -d "/sys/module/$(printf %s "$1" | tr - _)" ]; then echo loaded; else echo absent; fi; }
save_module() { :; }
restore_module() {
    case $(cat "$2.was")/$(state_module "$1") in
        loaded/absent) modprobe -- "$1" ;;
        absent/loaded) modprobe -r -- "$1" ;;
    esac
}

# --- custom: `label<TAB>probe<TAB>undo`: commands of a layer -------------------------------------------

_word() { printf %s "$1" | cut -f "$2"; }
state_custom() { # what the probe says; where it fails there is nothing
    local said
    said=$(sh -c "$(_word "$1" 2)" </dev/null 2>/dev/null) && [ -n "$said" ] || said=absent
    printf %s "$said" | tr '\n' ' '
}
save_custom() { :; }
restore_custom() {
    [ "$(cat "$2.was")" = "$(state_custom "$1")" ] || sh -c "$(_word "$1" 3)" </dev/null >/dev/null 2>&1 || :
}
