# shellcheck shell=dash
# A step: keep the state of what a change touches, make the change, keep what it left.

KEEP_RUNS=${NODEPROOF_KEEP_RUNS:-20}
KEEP_KB=${NODEPROOF_KEEP_KB:-262144}

# begin RUN: take the lock, settle what dead runs left, open the run. Its description, `key=value`
# lines, comes on standard input. Prints one line for each thing that was settled.
begin() {
    local other
    mkdir -p -- "$RUNS" "$RUN_DIR" && chmod 700 -- "$HOME_DIR" "$RUN_DIR" || exit 1
    if ! own "$1"; then
        other=$(owner)
        [ -n "$other" ] || die "the lock $LOCK cannot be taken"
        echo "busy${TAB}$other${TAB}$(field "$RUNS/$other/meta" who)${TAB}$(field "$RUNS/$other/meta" began)${TAB}$(owner_alive && echo alive)"
        exit $BUSY
    fi
    settle "$1"
    printf 'last\t%s\n' "$(newest "$1")"
    [ -d "$RUNS/$1" ] && return 0 # another layer of the same plain run
    mkdir -- "$RUNS/$1" && { cat && echo "began=$(now)"; } | put "$RUNS/$1/meta" || exit 1
    : >"$RUNS/$1/log" && stored "$RUNS/$1/log"
    sync -- "$RUNS"
    prune "$1"
}

newest() { # newest RUN: print the newest other run
    find "$RUNS" -mindepth 1 -maxdepth 1 -type d ! -name "$1" -printf '%f\n' | sort | tail -n 1
}

settle() { # settle RUN: end all other runs, whose owners are gone
    local gone folder run
    if [ -e "$ARMED" ] && [ "$(cat "$ARMED")" != "$1" ]; then
        gone=$(cat "$ARMED")
        expire "$gone" its-controller-is-gone && echo "reverted${TAB}$gone"
    fi
    for folder in "$RUNS"/*/; do
        run=${folder%/} run=${run##*/}
        [ -d "$folder" ] && [ "$run" != "$1" ] && [ ! -e "$folder/result" ] || continue
        recover "$run"
        end "$run" interrupted
        echo "interrupted${TAB}$run"
    done
}

recover() { # recover RUN: remove the temporary files of steps that were cut off
    local step
    for step in "$RUNS/$1"/[0-9]*/; do
        [ -d "$step" ] && [ ! -e "$step/code" ] || continue
        note "$1" "cut ${step%/}"
        each_item "${step%/}" _clean
    done
}
_clean() { [ "$1" != file ] || rm -f -- "$(beside "$2")"; }

end() { # end RUN RESULT
    [ -d "$RUNS/$1" ] || die "there is no run $1"
    [ ! -e "$RUNS/$1/roots" ] || { roots >"$RUNS/$1/roots.now" && kernel >"$RUNS/$1/kernel.now"; }
    if [ ! -e "$RUNS/$1/result" ]; then # else the guard has ended it
        note "$1" "end $2"
        echo "$2" | put "$RUNS/$1/result"
    fi
    if owned "$1"; then rm -f -- "$RUN_DIR".* "$LOCK"; fi
}

# step RUN GUARD LAYER NAME ITEM... -- COMMAND. GUARD is the number of seconds after which an
# unconfirmed change is taken back, or 0. The command's exit code is the step's.
step() {
    local run=$1 guard=$2 layer=$3 name=$4 number step new code said
    shift 4
    is_run "$run" || die "there is no run $run"
    [ ! -e "$RUNS/$run/result" ] || die "run $run was ended ($(cat "$RUNS/$run/result")); nothing is changed any more" $CLOSED
    owned "$run" || die "run $run does not have the lock; another run does: $(field "$LOCK" run)" $BUSY
    number=$(printf %04d $(($(find "$RUNS/$run" -mindepth 1 -maxdepth 1 -name '[0-9]*' | wc -l) + 1)))
    step=$RUNS/$run/$number
    new=$RUNS/$run/.new
    rm -rf -- "$new"
    mkdir -- "$new" || die "the journal cannot be written; nothing was changed"
    printf '%s\n%s\n%s\n' "$layer" "$name" "$guard" >"$new/change"
    : >"$new/items"
    while [ "$1" != -- ]; do
        printf '%s\n' "$1" >>"$new/items"
        shift
    done
    shift
    each_item "$new" _save || { rm -rf -- "$new"; die "the journal cannot be written; nothing was changed"; }
    # The step counts from the moment that its folder has its name.
    if ! { stored "$new" && mv -T -- "$new" "$step" && sync -- "$RUNS/$run"; }; then
        rm -rf -- "$new"
        die "the journal cannot be written; nothing was changed"
    fi
    if [ "$guard" -gt 0 ] && [ ! -e "$ARMED" ]; then arm "$run" "$guard" || { disarm; die "the guard cannot be armed; nothing was changed"; }; fi
    exec 8>"$LOCK.step" && flock 8
    (umask 022 && exec sh -c "$1") </dev/null
    code=$?
    exec 8>&-
    if [ $code = 0 ] && [ "$guard" -gt 0 ] && ! said=$(each_item "$step" _accepted 2>&1); then
        printf '%s\n' "$said" "the change was taken back" >&2
        code=1
        undo "$run" "$step" >/dev/null
    else
        each_item "$step" _after
    fi
    echo $code >"$step/code" && stored "$step"
    exit $code
}

each_item() { # each_item STEP FUNCTION: call FUNCTION KIND NAME PREFIX for each item; fails if one does
    local n=0 failed=0 kind item
    while IFS="$TAB" read -r kind item; do
        n=$((n + 1))
        "$2" "$kind" "$item" "$1/$n" || failed=1
    done <"$1/items"
    return $failed
}
_save() { "state_$1" "$2" >"$3.was" && "save_$1" "$2" "$3"; }
_after() {
    "state_$1" "$2" >"$3.now"
    case $1 in accounts | packages) "after_$1" "$2" "$3" ;; esac
}

# The daemons' own words on what a guarded change left; see each checker.
_accepted() { # _accepted KIND NAME
    case $1:$2 in
        file:/etc/ssh/* | told:ssh*) _have sshd || return 0; /usr/sbin/sshd -t ;;
        file:/etc/sudoers*) _have visudo || return 0; visudo -c >/dev/null ;;
        file:/etc/nftables.conf | file:/etc/nftables.d/*) [ ! -e /etc/nftables.conf ] || nft -c -f /etc/nftables.conf ;;
        file:/etc/netplan/*) _have netplan || return 0; netplan generate ;;
        file:/etc/pam.d/*) _pam_modules "$2" ;;
        file:/etc/apparmor.d/*) [ ! -f "$2" ] || apparmor_parser -Q -K -- "$2" ;;
    esac
}
_have() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }

_pam_modules() { # every module that a PAM file names exists; one that is missing locks all out
    local module path
    [ -f "$1" ] || return 0
    sed -n 's/#.*//; /^[[:space:]]*-/d; s/.*[[:space:]]\([^[:space:]]*pam_[a-z0-9_]*\.so\).*/\1/p' "$1" |
        sort -u | while read -r module; do
        for path in "$module" /lib/*/security/"$module" /usr/lib/*/security/"$module" \
            /lib/security/"$module" /usr/lib64/security/"$module"; do
            case $path in /*) [ -e "$path" ] && continue 2 ;; esac
        done
        echo "$1: there is no module $module" >&2
        exit 1
    done
}

prune() { # prune RUN: forget the oldest runs beyond the limits; never this one, nor what revert set aside
    local old
    find "$RUNS" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort | while read -r old; do
        [ "$old" != "$1" ] && [ -e "$RUNS/$old/result" ] && [ ! -d "$RUNS/$old/kept" ] || continue
        [ "$(find "$RUNS" -mindepth 1 -maxdepth 1 -type d | wc -l)" -gt "$KEEP_RUNS" ] ||
            [ "$(du -sk -- "$RUNS" | cut -f 1)" -gt "$KEEP_KB" ] || break
        rm -rf -- "${RUNS:?}/$old"
    done
}
