# shellcheck shell=dash
# A step: keep the state of what a change touches, make the change, keep what it left.

# begin RUN: take the lock, settle what dead runs left, open the run. Its description, `key=value`
# lines, comes on standard input. Prints one line for each thing that was settled.
begin() {
    local other
    named "$1" || die "$1 is not the name of a run" 2
    [ ! -e "$RUNS/$1/result" ] || die "run $1 was ended ($(cat "$RUNS/$1/result"))" $CLOSED
    mkdir -p -- "$RUNS" "$RUN_DIR" && chmod 700 -- "$HOME_DIR" "$RUN_DIR" || exit 1
    if ! own "$1"; then
        other=$(owner)
        [ -n "$other" ] || die "the lock $LOCK cannot be taken"
        printf 'busy\t%s\t%s\t%s\t%s\n' "$other" "$(field "$RUNS/$other/meta" who)" \
            "$(field "$RUNS/$other/meta" began)" "$(owner_alive && echo alive)"
        exit $BUSY
    fi
    settle "$1"
    printf 'last\t%s\n' "$(newest "$1")"
    [ ! -e "$RUNS/$1/meta" ] || return 0 # another layer of the same plain run
    mkdir -p -- "$RUNS/$1" && { cat && echo "began=$(now)"; } | put "$RUNS/$1/meta" || exit 1
    : >"$RUNS/$1/log" && stored "$RUNS/$1" && sync -- "$RUNS"
}

newest() { # newest RUN: print the newest other run
    find "$RUNS" -mindepth 1 -maxdepth 1 -type d ! -name "$1" -printf '%f\n' | sort | tail -n 1
}

settle() { # settle RUN: end all other runs, whose owners are gone
    local gone folder run
    if [ -e "$ARMED" ] && [ "$(cat "$ARMED")" != "$1" ]; then
        gone=$(cat "$ARMED")
        if expire "$gone" its-controller-is-gone >"$RUN_DIR/expired"; then
            printf 'reverted\t%s\n' "$gone"
        else
            printf 'left\t%s\t%s\n' "$gone" "$(sed -n "s/^failed$TAB//p" "$RUN_DIR/expired" | tr '\n' ';')"
        fi
        rm -f -- "$RUN_DIR/expired"
    fi
    for folder in "$RUNS"/*/; do
        run=${folder%/} run=${run##*/}
        [ -d "$folder" ] && [ "$run" != "$1" ] && [ ! -e "$folder/result" ] || continue
        end "$run" interrupted
        printf 'interrupted\t%s\n' "$run"
    done
}

recover() { # recover RUN: of steps that were cut off, remove temporary files and keep what they left
    local step
    [ ! -e "$RUNS/$1/.new" ] || rm -rf -- "$RUNS/$1/.new"
    for step in "$RUNS/$1"/[0-9]*/; do
        [ -d "$step" ] && [ ! -e "$step/code" ] || continue
        step=${step%/}
        note "$1" "cut $step"
        each_item "$step" _cut
        echo cut >"$step/code" && stored "$step"
    done
}
_cut() { # from now on, what others do can be told from what the step did
    [ "$1" != file ] || _clean "$2"
    [ "$1" = packages ] || [ -s "$3.now" ] || _after "$@"
}
_clean() { # _clean PATH
    local beside user
    beside=$(beside "$1") user=$(_whose "$1")
    [ -e "$beside" ] || [ -L "$beside" ] || return 0
    if [ -n "$user" ]; then _as "$user" rm -rf -- "$beside"; else rm -rf -- "$beside"; fi
}

end() { # end RUN RESULT
    is_run "$1" || die "there is no run $1"
    if [ -e "$RUNS/$1/result" ]; then
        leave "$1"
        [ "$(cat "$RUNS/$1/result")" = "$2" ] || die "run $1 was ended before ($(cat "$RUNS/$1/result"))" $CLOSED
        return 0
    fi
    recover "$1"
    [ ! -e "$RUNS/$1/roots" ] || { roots >"$RUNS/$1/roots.now" && kernel >"$RUNS/$1/kernel.now"; }
    note "$1" "end $2"
    printf '%s\n' "$2" | put "$RUNS/$1/result" || return 1
    if owned "$1"; then
        rm -f -- "$RUN_DIR".*
        prune "$1"
        leave "$1"
    fi
}

# step RUN GUARD LAYER NAME ITEM... -- COMMAND. GUARD is the number of seconds after which an
# unconfirmed change is taken back, or 0. The command's exit code is the step's.
step() {
    local run=$1 guard=$2 layer=$3 name=$4 step code
    shift 4
    at_work
    accepting "$run"
    recover "$run"
    step=$(keep "$run" "$layer" "$name" "$guard" '' "$@") ||
        die "the state before it cannot be kept; nothing was changed"
    while [ "$1" != -- ]; do shift; done
    shift
    if [ "$guard" -gt 0 ] && [ ! -e "$ARMED" ] && ! arm "$run" "$guard"; then
        disarm
        mv -T -- "$step" "$RUNS/$run/.new" && rm -rf -- "$RUNS/$run/.new"
        die "the guard cannot be armed; nothing was changed"
    fi
    (umask 022 && exec sh -c "$1") </dev/null
    code=$?
    accepted "$run" "$step" "$guard" $code || code=$?
    # Nobody waits for it: who is next at work waits for the lock, and one that was cut off is
    # gone about again (see recover).
    { trap '' HUP && _finish "$step" $code; } </dev/null >/dev/null 2>&1 &
    exit $code
}

_finish() { # _finish STEP CODE: keep what a change left; the lock is held
    [ -e "$1/undone" ] || each_item "$1" _after
    printf '%s\n' "$2" >"$1/code" && stored "$1"
    at_rest
}

# accepted RUN STEP GUARD CODE: ask the daemons about what a change left; fails where it was taken back.
accepted() {
    local said code=1
    if [ "$3" -gt 0 ] && [ -e "$RUNS/$1/result" ]; then
        said="journal: run $1 was ended meanwhile ($(cat "$RUNS/$1/result"))" code=$CLOSED
    elif [ "$4" != 0 ] || [ "$3" = 0 ] || said=$(each_item "$2" _accepted 2>&1); then
        return 0
    fi
    REVERTING=$1
    if undo "$1" "$2" >/dev/null; then
        printf '%s\n' "$said" "the change was taken back" >&2
    else
        printf '%s\n' "$said" "the change could not be taken back" >&2
    fi
    return $code
}

accepting() { # accepting RUN: refuse what is not done for the run that is at work
    is_run "$1" || die "there is no run $1"
    [ ! -e "$RUNS/$1/result" ] || die "run $1 was ended ($(cat "$RUNS/$1/result")); nothing is changed any more" $CLOSED
    owned "$1" || die "run $1 does not have the lock; another run does: $(field "$LOCK" run)" $BUSY
}

# keep RUN LAYER NAME GUARD OF ITEM... [-- ...]: keep the state of the items; print the step's folder.
# The step counts from the moment that its folder has its name.
keep() {
    local run=$RUNS/$1 new=$RUNS/$1/.new step n=1
    for step in "$run"/[0-9]*/; do [ ! -d "$step" ] || n=$((n + 1)); done
    step=$run/$(printf %04d $n)
    if mkdir -- "$new" && _described "$new" "$@" && each_item "$new" _save && stored "$new" &&
        mv -T -- "$new" "$step" && sync -- "$run"; then
        printf '%s\n' "$step"
    else
        rm -rf -- "$new"
        return 1
    fi
}

_described() { # _described FOLDER RUN LAYER NAME GUARD OF ITEM... [-- ...]
    local new=$1 word
    for word in "$3" "$4" "$5"; do
        case $word in
            *"$NL"*) return 1 ;;
            *"$TAB"*) printf '%s\n' "$word" | tr '\t' ' ' ;;
            *) printf '%s\n' "$word" ;;
        esac || return 1
    done >"$new/change" || return 1
    [ -z "$6" ] || printf '%s\n' "$6" >"$new/of" || return 1
    shift 6
    for word in "$@"; do
        case $word in
            --) return 0 ;;
            *"$NL"*) printf '%s\n' "journal: $word is not one item" >&2 && return 1 ;;
        esac
        printf '%s\n' "$word" || return 1
    done >"$new/items"
}

_steps() { find "$RUNS/$1" -mindepth 1 -maxdepth 1 -name '[0-9]*' ! -name '*.new' | sort; } # of a run

each_item() { # each_item STEP FUNCTION: call FUNCTION KIND NAME PREFIX for each item; fails if one does
    local n=0 failed=0 line
    while IFS= read -r line; do
        n=$((n + 1))
        "$2" "${line%%"$TAB"*}" "${line#*"$TAB"}" "$1/$n" </dev/null || failed=1
    done <"$1/items" || failed=1
    return $failed
}
_save() { "state_$1" "$2" >"$3.was" && "save_$1" "$2" "$3"; }
_after() {
    local is
    case $1 in accounts | packages) "after_$1" "$2" "$3" || return 1 ;; esac
    is=$("state_$1" "$2") && printf '%s\n' "$is" >"$3.now" # last: it says that all is kept
}

# The daemons' own words on what a guarded change left; see each checker.
_accepted() { # _accepted KIND NAME
    case $1:$2 in
        file:/etc/ssh/* | told:ssh*) _have sshd || return 0; /usr/sbin/sshd -t ;;
        file:/etc/sudoers*) _have visudo || return 0; visudo -c ;;
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
        printf '%s\n' "$1: there is no module $module" >&2
        exit 1
    done
}

# prune RUN: forget the oldest runs beyond the limits; never this one, nor the one that it takes
# back, nor what revert set aside.
prune() {
    local old reverts runs kb
    runs=${NODEPROOF_KEEP_RUNS:-$(limit keep_runs 20)} kb=${NODEPROOF_KEEP_KB:-$(limit keep_kb 262144)}
    reverts=$(field "$RUNS/$1/meta" reverts)
    find "$RUNS" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort | while read -r old; do
        [ "$old" != "$1" ] && [ "$old" != "$reverts" ] && [ -e "$RUNS/$old/result" ] && [ ! -d "$RUNS/$old/kept" ] || continue
        ! armed "$old" || continue
        [ "$(find "$RUNS" -mindepth 1 -maxdepth 1 -type d | wc -l)" -gt "$runs" ] ||
            [ "$(du -sk -- "$RUNS" | cut -f 1)" -gt "$kb" ] || break
        rm -rf -- "${RUNS:?}/$old"
    done
}
