# shellcheck shell=dash
# Kinds of state. Each kind has three functions: state_KIND prints its state now in one line,
# save_KIND keeps what is needed to restore it, restore_KIND makes it what it was. An item is a
# line `kind<TAB>name`; $1 is always the name, $2 the prefix of the files that keep it.
# later_KIND, where there is one, is called after all items are restored: whoever read the state
# takes it up again.

# --- unit: enabled, masked, running ----------------------------------------------------------------

state_unit() {
    local line said absent='' enabled='' running=''
    said=$(_unit "$1") || return 1
    while IFS= read -r line; do
        case $line in
            LoadState=not-found) absent='absent ' ;;
            UnitFileState=*) enabled=${line#*=} ;;
            ActiveState=active | ActiveState=reloading | ActiveState=activating) running=running ;;
            ActiveState=*) running=stopped ;;
        esac
    done <<EOF
$said
EOF
    printf '%s\n' "$absent$enabled $running"
}
_unit() { # systemd answers nobody while it re-executes itself: it is asked again
    local n=0
    until systemctl show -p LoadState,UnitFileState,ActiveState -- "$1" 2>/dev/null; do
        [ -d /run/systemd/system ] || return 0
        n=$((n + 1))
        [ $n -lt 40 ] || return 1
        sleep 0.5
    done
}
save_unit() { :; }
restore_unit() {
    local was now
    was=$(cat "$2.was") now=$(state_unit "$1")
    case $was in *absent*) return 0 ;; esac # its package is gone, or goes with its package
    case $now in *absent*) return 0 ;; esac
    case $was in
        *masked*) case $now in *masked*) ;; *) _ask mask --quiet -- "$1" ;; esac ;;
        *) case $now in *masked*) _ask unmask --quiet -- "$1" ;; esac ;;
    esac
    case $was in
        *enabled*) case $now in *enabled*) ;; *) _ask enable --quiet -- "$1" ;; esac ;;
        *disabled*) case $now in *disabled*) ;; *) _ask disable --quiet -- "$1" ;; esac ;;
    esac
    case $was in
        *running*) case $now in *running*) ;; *) _systemctl start "$1" ;; esac ;;
        *) case $now in *running*) _systemctl stop "$1" ;; esac ;;
    esac
}

later_unit() { :; } # noted for those who are told later

# At boot nothing may be waited for: it would wait for the guard's unit, which stands before it.
_systemctl() { # _systemctl VERB UNIT
    case $(systemctl is-system-running 2>/dev/null) in
        initializing | starting) _ask --no-block "$1" -- "$2" ;;
        *) _ask "$1" -- "$2" ;;
    esac
}

# systemd hangs up on whom it serves while it re-executes itself, as it does when it is updated.
_ask() { # _ask WORD...: what systemctl is told, again where that happened
    local said unit n=0
    for unit in "$@"; do :; done
    until said=$(LC_ALL=C systemctl "$@" 2>&1 </dev/null); do
        case $said in
            *'Transport endpoint is not connected'* | *'Connection reset by peer'* | \
                *'Connection refused'* | *'Remote peer disconnected'* | \
                *'Message recipient disconnected'* | *'Broken pipe'*) n=$((n + 1)) ;;
            # Nor is somebody who asks on purpose one of the starts that systemd thinks too many.
            *'attempted too often'*)
                if systemctl reset-failed -- "$unit" 2>/dev/null; then n=$((n + 10)); else n=20; fi
                ;;
            *) n=20 ;;
        esac
        [ $n -lt 20 ] || { printf '%s\n' "$said" >&2; return 1; }
        sleep 0.5
    done
}

# --- told: a unit that must take up what was restored ------------------------------------------------

state_told() { state_unit "$1"; }
save_told() { :; }
restore_told() { :; }
later_told() {
    if systemctl is-active --quiet -- "$1"; then
        _systemctl reload-or-restart "$1" || return 1
    elif _came_to_its_end "$@"; then
        systemctl reset-failed -- "$1" 2>/dev/null
        _systemctl start "$1" || return 1
    fi
    rm -f -- "$RUN_DIR/pending/$1"
}

# Over what was changed: it ran before, and neither a restored state has it stopped nor the boot.
_came_to_its_end() { # _came_to_its_end UNIT PREFIX
    case $(systemctl is-system-running 2>/dev/null) in initializing | starting) return 1 ;; esac
    case $(cat "$2.was" 2>/dev/null) in *running*) ;; *) return 1 ;; esac
    case $(state_unit "$1") in *absent*) return 1 ;; esac
    ! grep -q "^unit$TAB$1$TAB" "$LATER"
}

# --- apparmor: `path profile`, as the kernel holds it -----------------------------------------------

PROFILES=/sys/kernel/security/apparmor
state_apparmor() {
    sed -n "s/^\(.*\) (\([a-z]*\))\$/\1${TAB}\2/p" $PROFILES/profiles 2>/dev/null |
        awk -F '\t' -v name="${1#* }" '$1 == name { print $2; found = 1 } END { if (!found) print "absent" }'
}
save_apparmor() { :; }
restore_apparmor() {
    local file=${1%% *}
    [ "$(cat "$2.was")" = absent ] || return 0
    rm -f -- /var/cache/apparmor/*/"${file##*/}" # compiled
    [ "$(state_apparmor "$1")" = absent ] || printf %s "${1#* }" >$PROFILES/.remove
}
later_apparmor() {
    [ "$(cat "$2.was")" = absent ] || [ ! -e "${1%% *}" ] ||
        apparmor_parser --replace --skip-read-cache --write-cache -- "${1%% *}"
}

# --- nft: `family table`, as the kernel holds it, without counters -------------------------------

_nft() { # _nft NAME WORD...: ask nft with the family and the table as its last words
    local name=$1
    shift
    nft "$@" "${name%% *}" "${name#* }"
}
state_nft() {
    local is
    is=$(_nft "$1" -s list table 2>/dev/null)
    if [ -n "$is" ]; then printf '%s\n' "$is" | sha256sum; else echo absent; fi
}
save_nft() { [ "$(state_nft "$1")" = absent ] || _nft "$1" -s list table >"$2.nft"; }
restore_nft() { # in one transaction: there is no moment without rules
    if [ "$(cat "$2.was")" != absent ]; then
        { printf 'table %s\ndelete table %s\n' "$1" "$1" && cat -- "$2.nft"; } | nft -f -
    elif [ "$(state_nft "$1")" != absent ]; then
        _nft "$1" delete table
    fi
}

# --- sysctl, module: what the running kernel has -----------------------------------------------------

_sysctl() { printf '/proc/sys/%s' "$(printf %s "$1" | tr ./ /.)"; }
state_sysctl() { cat "$(_sysctl "$1")" 2>/dev/null || echo absent; }
save_sysctl() { :; }
restore_sysctl() {
    # Where /proc/sys is read-only, in a container, a name can be set all the same.
    case $1 in kernel.hostname) hostname -- "$(cat "$2.was")"; return ;; esac
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
    [ "$(cat "$2.was")" = "$(state_custom "$1")" ] || sh -c "$(_word "$1" 3-)" </dev/null >/dev/null 2>&1 || :
}
