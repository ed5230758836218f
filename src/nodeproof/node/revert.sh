# shellcheck shell=dash
# Take a run back: its steps in reverse order, each item to what it was; then whoever read the
# state takes it up; then everything is looked at again.

undo() { # undo RUN STEP: restore the items of one step, last first
    local again='' failed='' n
    put_back "$2" || return 1
    for n in $(seq "$(wc -l <"$2/items")" -1 1); do
        case $(sed -n "${n}p" "$2/items") in
            file"$TAB"*) _undo_item "$2" "$n" 2>/dev/null || again="$again $n" ;;
            *) _undo_item "$2" "$n" || failed="$failed $n" ;;
        esac
    done
    # Once more: what was in the way of one file may have been another.
    for n in $again; do _undo_item "$2" "$n" || failed="$failed $n"; done
    for n in $failed; do printf 'failed\t%s\n' "$(sed -n "${n}p" "$2/items" | tr '\t' ' ')"; done
    [ -z "$failed" ] && taken_back "$2"
}

_undo_item() { # _undo_item STEP NUMBER
    local line kind item
    line=$(sed -n "${2}p" "$1/items")
    kind=${line%%"$TAB"*} item=${line#*"$TAB"}
    # Before it is restored: the later part must not be forgotten if this is interrupted.
    case $kind:$item in
        told:* | apparmor:* | unit:*) _note_later "$kind" "$item" "$1/$2" ;;
        file:"$ETC"/systemd/system/*) _note_later units read "$1/$2" ;;
    esac
    { spare "$kind" "$item" "$1/$2" && "restore_$kind" "$item" "$1/$2"; } </dev/null
}

# Marks of what is in effect. A step that took another one back has that one's folder in `of`:
# when it is itself taken back, the other one is in effect again, and so on.
taken_back() { # taken_back STEP
    [ -d "$1" ] || return 0 # pruned
    # First the other's: if this is interrupted, it is done again.
    [ ! -e "$1/of" ] || in_effect "$RUNS/$(cat "$1/of")" || return 1
    printf '%s\n' "$REVERTING" | put "$1/undone"
}
in_effect() { # in_effect STEP
    [ -d "$1" ] || return 0
    rm -f -- "$1/undone" && sync -- "$1" || return 1
    [ ! -e "$1/of" ] || taken_back "$RUNS/$(cat "$1/of")"
}

_note_later() { # _note_later KIND NAME PREFIX
    printf '%s\t%s\t%s\n' "$@" >>"$LATER"
    [ ! -f "$LATER" ] || sync -- "$LATER"
}

tell_later() { # in the order in which they were first made; each once
    local code=0 said='' kind item prefix
    [ -s "$LATER" ] || return 0
    # Whoever is told or started again is it by its restored unit.
    ! grep -q "^units$TAB" "$LATER" || _ask daemon-reload || return 1
    while IFS="$TAB" read -r kind item prefix; do
        [ "$kind" != units ] || continue
        case $said in *"|$kind $item|"*) continue ;; esac
        said="$said|$kind $item|"
        "later_$kind" "$item" "$prefix" </dev/null || { printf 'failed\t%s\n' "$kind $item"; code=1; }
    done <<EOF
$(tac "$LATER")
EOF
    [ $code != 0 ] || rm -f -- "$LATER"
    return $code
}

# chosen RUN LAYER NAMES: print the steps to take back, last first. LAYER may be empty; NAMES is a
# list of shell patterns, one a line, or empty.
chosen() {
    local step name pattern
    _steps "$1" | sort -r | while read -r step; do
        [ ! -e "$step/undone" ] || continue
        [ -z "$2" ] || [ "$(sed -n 1p "$step/change")" = "$2" ] || continue
        if [ -n "$3" ]; then
            name=$(sed -n 2p "$step/change")
            printf '%s\n' "$3" | while read -r pattern; do
                # shellcheck disable=SC2254 # a pattern
                case $name in $pattern) echo yes ;; esac
            done | grep -q yes || continue
        fi
        printf '%s\n' "$step"
    done
}

# examine RUN LAYER NAMES: print what would be restored and what stands against it:
# `step<TAB>layer<TAB>name`, `conflict<TAB>item<TAB>why`, `lasting<TAB>item<TAB>why` for what cannot
# be brought back. Changes nothing.
examine() { # examine RUN LAYER NAMES
    local step
    named "$1" || die "there is no run $1"
    [ -d "$RUNS/$1" ] || { printf 'absent\t%s\n' "$1"; return 0; }
    SEEN=$RUN_DIR/examined.$$
    mkdir -p -- "$RUN_DIR"
    : >"$SEEN" && : >"$SEEN.packages"
    chosen "$1" "$2" "$3" | while read -r step; do
        printf 'step\t%s\t%s\n' "$(sed -n 1p "$step/change")" "$(sed -n 2p "$step/change")"
        each_item "$step" _conflict
    done
    rm -f -- "$SEEN" "$SEEN".*
}

# An item conflicts where it is neither what the change left nor what it was before. Of several
# steps that touch an item, the later ones will have been taken back by then.
_conflict() { # _conflict KIND NAME PREFIX
    local why later is
    case $1 in
        accounts | packages)
            [ "$1" = accounts ] || "lasting_$1" "$2" "$3" | while read -r why; do printf 'lasting\t%s\t%s\n' "$1" "$why"; done
            "conflicts_$1" "$2" "$3" | while read -r why; do printf 'conflict\t%s\t%s\n' "$1" "$why"; done
            ;;
        told | tree | custom | apparmor | nft | unit) : ;; # made what they were, whatever they are
        *)
            later=$(grep -F -x -A 1 -- "$1$TAB$2" "$SEEN" | sed -n 2p)
            is=${later:-$("state_$1" "$2")}
            printf '%s\t%s\n%s\n' "$1" "$2" "$(cat "$3.was")" >"$SEEN.new"
            cat "$SEEN" >>"$SEEN.new" && mv -- "$SEEN.new" "$SEEN"
            [ ! -e "$3.now" ] || [ "$is" = "$(cat "$3.now")" ] || [ "$is" = "$(cat "$3.was")" ] ||
                printf 'conflict\t%s %s\t%s\n' "$1" "$2" "$(_since "$1$TAB$2" "${3%/*}")"
            ;;
    esac
}

_since() { # _since ITEM STEP: who changed it since
    local run=${2%/*} items other
    run=${run##*/}
    find "$RUNS" -mindepth 3 -maxdepth 3 -name items | sort -r | while read -r items; do
        other=${items%/*} other=${other%/*} other=${other##*/}
        if [ "$other" \> "$run" ] && [ ! -e "${items%/*}/undone" ] && grep -qFx -- "$1" "$items"; then
            printf '%s\n' "changed by run $other since; take that back first"
            break
        fi
        if [ "$other" = "$run" ] && [ "${items%/*}" \> "$2" ] && [ ! -e "${items%/*}/undone" ] && grep -qFx -- "$1" "$items"; then
            printf '%s\n' "changed by a later change of the same run: $(sed -n 2p "${items%/*}/change")"
            break
        fi
    done | grep . || echo "changed since, not by nodeproof"
}

# revert RUN BY LAYER NAMES GUARD: as the run BY, which has begun. Every step taken back is a step
# of BY, so that it can be taken back, too. Prints `armed`, `undone<TAB>layer<TAB>name` and
# `left<TAB>layer<TAB>name`, after what there is to say of a step: `kept`, `failed`; at the end `differs`.
revert() {
    local code=0 guard=0 step
    is_run "$1" || die "there is no run $1"
    [ "$1" != "$2" ] || die "a run cannot take itself back"
    at_work
    accepting "$2"
    REVERTING=$2 LATER=$RUNS/$1/later
    for step in $(chosen "$1" "$3" "$4"); do
        case $(sed -n 3p "$step/change") in 0) ;; *) guard=$5 ;; esac
    done
    [ "$guard" = 0 ] || { arm "$2" "$guard" && echo armed; } || die "the guard cannot be armed; nothing was changed"
    for step in $(chosen "$1" "$3" "$4"); do
        accepting "$2" # the guard does not wait for ever
        _take_back "$1" "$2" "$step" "$guard" || code=1
    done
    tell_later || code=1
    [ "$guard" = 0 ] || again "$2" "$guard"
    prove "$1" "$2" || code=1
    at_rest
    return $code
}

_take_back() { # _take_back RUN BY STEP GUARD
    local code=0 run=$1 by=$2 step=$3 guard=$4 redo layer name item slow='' said=undone
    layer=$(sed -n 1p "$step/change") name=$(sed -n 2p "$step/change")
    if [ "$guard" != 0 ] && grep -q "^packages$TAB" "$step/items"; then slow=yes; fi
    [ -z "$slow" ] || again "$by" $((guard + PACKAGES_S))
    set --
    while IFS= read -r item; do set -- "$@" "$item"; done <"$step/items"
    redo=$(keep "$by" "$layer" "Take back: $name" "$guard" "$run/${step##*/}" "$@") ||
        die "the state before it cannot be kept; $name was not taken back"
    KEEPING=$redo
    undo "$run" "$step" || code=1 said=left
    KEEPING=''
    each_item "$redo" _after
    echo $code >"$redo/code" && stored "$redo"
    [ -z "$slow" ] || again "$by" "$guard"
    [ $code != 0 ] || note "$run" "undone ${step##*/} by $by"
    printf '%s\t%s\t%s\n' "$said" "$layer" "$name"
    return $code
}

# prove RUN BY: look again at each item that BY took back; the first step that touched it says what
# it was.
prove() {
    local differ=0 step
    SEEN=$RUN_DIR/proven.$$
    : >"$SEEN"
    for step in $(_steps "$1"); do
        [ "$(cat "$step/undone" 2>/dev/null)" = "$2" ] || continue
        each_item "$step" _proven || differ=1
    done
    rm -f -- "$SEEN"
    return $differ
}
_proven() {
    local is
    case $1 in told | accounts | packages) return 0 ;; esac # merged with what others did since
    ! grep -qFx -- "$1$TAB$2" "$SEEN" || return 0
    printf '%s\t%s\n' "$1" "$2" >>"$SEEN"
    is=$("state_$1" "$2")
    case $1:$is in unit:*absent*) return 0 ;; esac
    [ "$is" = "$(cat "$3.was")" ] || { printf 'differs\t%s %s\n' "$1" "$2"; return 1; }
}

# runs: print one line a run: id, result, when, who, layers, changes, inventory, settings, the run
# that it takes back.
runs() {
    local at_work run meta result steps undone
    [ -d "$RUNS" ] || return 0
    at_work=$(owner)
    for meta in "$RUNS"/*/meta; do
        [ -e "$meta" ] || continue
        run=${meta%/meta} run=${run##*/}
        result=$(cat "$RUNS/$run/result" 2>/dev/null) ||
            { [ "$run" = "$at_work" ] && result=running || result=interrupted; }
        # What the run itself took back, because a daemon or the guard said no, is no step of it.
        undone=$(find "$RUNS/$run" -mindepth 2 -maxdepth 2 -name undone -exec cat {} +)
        steps=$(($(_steps "$run" | wc -l) - $(printf '%s\n' "$undone" | grep -cFx -- "$run")))
        undone=$(printf '%s\n' "$undone" | grep . | grep -cvFx -- "$run")
        case $result:$undone in
            *:0 | running:* | *taken-back:*) ;;
            *) [ "$undone" -lt "$steps" ] && result="$result, partly reverted" || result=reverted ;;
        esac
        printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$run" "$result" "$(field "$meta" began)" \
            "$(field "$meta" who)" "$(field "$meta" layers)" "$(_changes "$run")" "$(field "$meta" inventory)" \
            "$(field "$meta" settings)" "$(field "$meta" reverts)"
    done
    [ ! -e "$ARMED" ] || printf 'armed\t%s\n' "$(cat "$ARMED")"
}

_changes() { # a change of several commands is several steps, one after another
    cat "$RUNS/$1"/[0-9]*/change 2>/dev/null |
        awk 'NR % 3 == 1 { layer = $0 } NR % 3 == 2 { if (layer "\t" $0 != last) n++; last = layer "\t" $0 } END { print n + 0 }'
}

# status: print who is at work and what was left: `owner`, `interrupted`, `armed`, `last`. Cheap.
status() {
    local folder run at_work last=''
    at_work=$(owner)
    [ -z "$at_work" ] || printf 'owner\t%s\t%s\t%s\t%s\n' "$at_work" "$(field "$RUNS/$at_work/meta" who)" \
        "$(field "$RUNS/$at_work/meta" began)" "$(owner_alive && echo alive)"
    for folder in "$RUNS"/*/; do
        [ -d "$folder" ] || continue
        run=${folder%/} run=${run##*/} last=${folder%/}
        [ -e "$folder/result" ] || [ "$run" = "$at_work" ] ||
            printf 'interrupted\t%s\t%s\t%s\n' "$run" "$(field "$folder/meta" who)" "$(field "$folder/meta" began)"
    done
    [ ! -e "$ARMED" ] || printf 'armed\t%s\n' "$(cat "$ARMED")"
    [ -z "$last" ] || printf 'last\t%s\n' "${last##*/}"
}

# back RUN [LAYER]: take a run back at this machine's console, as a run of its own. Whoever sits
# there needs no guard. RUN may be the beginning of an id, or `last`.
back() {
    local run found by code=0
    run=$(_meant "${1:-}") || exit 1
    by=$(date -u +%Y%m%dT%H%M%SZ)-$(od -An -N3 -tx1 /dev/urandom | tr -d ' \n')
    NODEPROOF_OWNER=$$
    printf 'who=%s@console\nlayers=%s\nreverts=%s\n' "${SUDO_USER:-root}" "${2:-}" "$run" | begin "$by" >/dev/null ||
        die "another run is at work: $(owner)"
    found=$(examine "$run" "${2:-}" '')
    printf '%s\n' "$found" | grep "^lasting$TAB"
    if printf '%s\n' "$found" | grep "^conflict$TAB"; then
        end "$by" failed
        die "nothing was changed: put that back first"
    fi
    case $found in '') printf '%s\n' "nothing of run $run is left to take back" ;; esac
    revert "$run" "$by" "${2:-}" '' 0 || code=1
    end "$by" "$([ $code = 0 ] && echo ok || echo failed)"
    return $code
}

_meant() { # _meant WORD: print the id that begins so; `last` is the newest run that took nothing back
    local found
    if [ "$1" = last ]; then
        found=$(grep -L '^reverts=.' -- "$RUNS"/*/meta 2>/dev/null | sort | tail -n 1)
        found=${found%/meta}
    else
        case $1 in '' | *[!0-9A-Za-z-]*) die "which run? see: journal runs" ;; esac
        found=$(find "$RUNS" -mindepth 1 -maxdepth 1 -type d -name "$1*")
    fi
    [ "$(printf '%s' "$found" | grep -c .)" = 1 ] || die "$1: $(printf '%s' "$found" | grep -c .) runs are called so; see: journal runs"
    echo "${found##*/}"
}
