# shellcheck shell=dash
# Take a run back: its steps in reverse order, each item to what it was; then whoever read the
# state takes it up; then everything is looked at again.

undo() { # undo RUN STEP: restore the items of one step, last first
    local failed=0 n line kind item
    n=$(wc -l <"$2/items")
    while [ "$n" -ge 1 ]; do
        line=$(sed -n "${n}p" "$2/items")
        kind=${line%%"$TAB"*} item=${line#*"$TAB"}
        if "restore_$kind" "$item" "$2/$n"; then
            case $kind in told | apparmor) echo "$kind$TAB$item$TAB$2/$n" >>"$LATER" ;; esac
        else
            echo "failed$TAB$kind $item"
            failed=1
        fi
        n=$((n - 1))
    done
    [ $failed = 1 ] || { : >"$2/undone" && stored "$2/undone"; }
    return $failed
}

tell_later() { # in the order in which they were first made; each once
    local code=0 said='' kind item prefix
    while [ -s "$LATER" ] && IFS="$TAB" read -r kind item prefix; do
        case $said in *"|$kind $item|"*) continue ;; esac
        said="$said|$kind $item|"
        "later_$kind" "$item" "$prefix" || { echo "failed$TAB$kind $item"; code=1; }
    done <<EOF
$(tac "$LATER")
EOF
    rm -f -- "$LATER"
    return $code
}

# chosen RUN LAYER NAMES: print the steps to take back, last first. LAYER may be empty; NAMES is a
# list of shell patterns, one a line, or empty.
chosen() {
    local step name pattern
    find "$RUNS/$1" -mindepth 1 -maxdepth 1 -name '[0-9]*' | sort -r | while read -r step; do
        [ ! -e "$step/undone" ] || continue
        [ -z "$2" ] || [ "$(sed -n 1p "$step/change")" = "$2" ] || continue
        if [ -n "$3" ]; then
            name=$(sed -n 2p "$step/change")
            printf '%s\n' "$3" | while read -r pattern; do
                # shellcheck disable=SC2254 # a pattern
                case $name in $pattern) echo yes ;; esac
            done | grep -q yes || continue
        fi
        echo "$step"
    done
}

# examine RUN LAYER NAMES: print what would be restored and what stands against it:
# `step<TAB>layer<TAB>name`, `conflict<TAB>item<TAB>why`. Changes nothing.
examine() {
    local step
    is_run "$1" || die "there is no run $1"
    seen=$RUN_DIR/examined
    mkdir -p -- "$RUN_DIR"
    : >"$seen" && : >"$seen.packages"
    chosen "$1" "$2" "$3" | while read -r step; do
        printf 'step\t%s\t%s\n' "$(sed -n 1p "$step/change")" "$(sed -n 2p "$step/change")"
        each_item "$step" _conflict
    done
    rm -f -- "$seen" "$seen.packages"
}

# An item conflicts where it is neither what the change left nor what it was before. Of several
# steps that touch an item, the later ones will have been taken back by then.
_conflict() { # _conflict KIND NAME PREFIX
    local why later is
    case $1 in
        accounts | packages) "conflicts_$1" "$2" "$3" | while read -r why; do printf 'conflict\t%s\t%s\n' "$1" "$why"; done ;;
        told | tree | custom | apparmor | unit) : ;; # made what they were, whatever they are
        *)
            later=$(grep -F -x -A 1 -- "$1$TAB$2" "$seen" | sed -n 2p)
            is=${later:-$("state_$1" "$2")}
            printf '%s\t%s\n%s\n' "$1" "$2" "$(cat "$3.was")" >"$seen.new"
            cat "$seen" >>"$seen.new" && mv -- "$seen.new" "$seen"
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
            echo "changed by run $other since; take that back first"
            break
        fi
        if [ "$other" = "$run" ] && [ "${items%/*}" \> "$2" ] && [ ! -e "${items%/*}/undone" ] && grep -qFx -- "$1" "$items"; then
            echo "changed by a later change of the same run: $(sed -n 2p "${items%/*}/change")"
            break
        fi
    done | grep . || echo "changed since, not by nodeproof"
}

# revert RUN BY LAYER NAMES GUARD: as the run BY, which has begun. Every step taken back is a step
# of BY, so that it can be taken back, too.
revert() {
    local code=0 guard=0 step redo
    REVERTING=$2 LATER=$RUN_DIR/later
    : >"$LATER"
    for step in $(chosen "$1" "$3" "$4"); do
        case $(sed -n 3p "$step/change") in 0) ;; *) guard=$5 ;; esac
    done
    [ "$guard" = 0 ] || arm "$2" "$guard" || die "the guard cannot be armed; nothing was changed"
    for step in $(chosen "$1" "$3" "$4"); do
        redo=$RUNS/$2/$(printf %04d $(($(find "$RUNS/$2" -mindepth 1 -maxdepth 1 -name '[0-9]*' | wc -l) + 1)))
        mkdir -- "$RUNS/$2/.new" && cp -- "$step/items" "$RUNS/$2/.new/items" || return 1
        printf '%s\n%s\n%s\n' "$(sed -n 1p "$step/change")" "Take back: $(sed -n 2p "$step/change")" "$guard" >"$RUNS/$2/.new/change"
        each_item "$RUNS/$2/.new" _save || { rm -rf -- "$RUNS/$2/.new"; die "the journal cannot be written"; }
        stored "$RUNS/$2/.new" && mv -T -- "$RUNS/$2/.new" "$redo" && sync -- "$RUNS/$2"
        undo "$1" "$step" || code=1
        each_item "$redo" _after
        echo $code >"$redo/code" && stored "$redo"
        note "$1" "undone ${step##*/} by $2"
        printf 'undone\t%s\t%s\n' "$(sed -n 1p "$step/change")" "$(sed -n 2p "$step/change")"
    done
    tell_later || code=1
    prove "$1" "$3" "$4" "$2" || code=1
    [ $code != 0 ] || [ -n "$3$4" ] || echo reverted | put "$RUNS/$1/result"
    return $code
}

# prove: look again at each item of what was taken back; the first step that touched it says what it was.
prove() {
    local differ=0 step
    seen=$RUN_DIR/proven
    : >"$seen"
    for step in $(find "$RUNS/$1" -mindepth 1 -maxdepth 1 -name '[0-9]*' | sort); do
        [ -e "$step/undone" ] || continue
        each_item "$step" _proven || differ=1
    done
    rm -f -- "$seen"
    return $differ
}
_proven() {
    local is
    case $1 in told | accounts | packages) return 0 ;; esac # merged with what others did since
    ! grep -qFx -- "$1$TAB$2" "$seen" || return 0
    printf '%s\t%s\n' "$1" "$2" >>"$seen"
    is=$("state_$1" "$2")
    case $1:$is in unit:*absent*) return 0 ;; esac
    [ "$is" = "$(cat "$3.was")" ] || { printf 'differs\t%s %s\n' "$1" "$2"; return 1; }
}

# runs: print one line a run: id, result, when, who, layers, changes, inventory, settings.
runs() {
    local at_work run meta result
    [ -d "$RUNS" ] || return 0
    at_work=$(owner)
    for meta in "$RUNS"/*/meta; do
        [ -e "$meta" ] || continue
        run=${meta%/meta} run=${run##*/}
        result=$(cat "$RUNS/$run/result" 2>/dev/null) ||
            { [ "$run" = "$at_work" ] && result=running || result=interrupted; }
        if [ -e "$RUNS/$run/result" ] && [ "$result" != reverted ] && grep -q '^[^ ]* undone ' "$RUNS/$run/log"; then
            result="$result, partly reverted"
        fi
        printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$run" "$result" "$(field "$meta" began)" \
            "$(field "$meta" who)" "$(field "$meta" layers)" \
            "$(find "$RUNS/$run" -mindepth 1 -maxdepth 1 -name '[0-9]*' | wc -l)" "$(field "$meta" inventory)" \
            "$(field "$meta" settings)"
    done
    [ ! -e "$ARMED" ] || printf 'armed\t%s\n' "$(cat "$ARMED")"
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
