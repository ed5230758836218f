# shellcheck shell=dash
# The item `accounts`: users and groups, restored entry by entry, so that what others changed since
# stays. Its name says nothing.

ACCOUNT_FILES="passwd shadow group gshadow subuid subgid"

state_accounts() { echo copied; } # and merged with what others did since, never compared as a whole

save_accounts() { # in PREFIX.d, also the tools' own backups: passwd- and so on
    local name into=$2.d
    set --
    for name in $ACCOUNT_FILES; do
        [ ! -e "$ETC/$name" ] || set -- "$@" "$ETC/$name"
        [ ! -e "$ETC/$name-" ] || set -- "$@" "$ETC/$name-"
    done
    mkdir -- "$into" && cp -a -t "$into" -- "$@"
}

after_accounts() { # in PREFIX.now.d: what the change left, to tell it from what others did later
    local name into=$2.now.d
    set --
    for name in $ACCOUNT_FILES; do [ ! -e "$ETC/$name" ] || set -- "$@" "$ETC/$name"; done
    mkdir -p -- "$into" && cp -t "$into" -- "$@"
}

restore_accounts() {
    local code=0 name
    mkdir -p -- "$2.now.d" && _lock_accounts || return 1
    for name in $ACCOUNT_FILES; do
        _restore_account_file "$name" "$2" || code=1
    done
    rm -f -- "$2.merged" "$2.taken"
    _unlock_accounts
    return $code
}

_restore_account_file() { # _restore_account_file NAME PREFIX
    local name=$1 there=$ETC/$1 new=$ETC/.$1.nodeproof code
    [ -e "$2.d/$name" ] || { # made by the change: taken away unless others changed it
        [ ! -e "$2.now.d/$name" ] || ! cmp -s "$2.now.d/$name" "$there" || rm -f -- "$there" "$there-"
        return
    }
    [ -e "$there" ] || { cp -a -- "$2.d/$name" "$new" && sync -- "$new" && mv -fT -- "$new" "$there" || return 1; }
    [ -e "$2.now.d/$name" ] || { # interrupted: take what is there
        cp -- "$there" "$2.taken" && sync -- "$2.taken" && mv -fT -- "$2.taken" "$2.now.d/$name" || return 1
    }
    _merged "$2.d/$name" "$2.now.d/$name" "$there" "$name" >"$2.merged"
    code=$?
    case $code in 0 | "$CONFLICT") ;; *) return 1 ;; esac # never half a file
    if ! cmp -s "$2.merged" "$there"; then
        if ! { cp -a -- "$2.d/$name" "$new" && cat "$2.merged" >"$new" && sync -- "$new" && mv -fT -- "$new" "$there"; }; then
            rm -f -- "$new"
            return 1
        fi
    fi
    if [ -e "$2.d/$name-" ]; then cp -a -- "$2.d/$name-" "$there-"; else rm -f -- "$there-"; fi || return 1
    return $code
}

_unmerged() { # _unmerged PREFIX: print what cannot be merged; later changes count as taken back
    local name current
    for name in $ACCOUNT_FILES; do
        current=$SEEN.$name
        [ -e "$1.d/$name" ] && [ -e "$ETC/$name" ] || continue
        [ -e "$current" ] || cp -- "$ETC/$name" "$current"
        if [ -e "$1.now.d/$name" ]; then
            { _merged "$1.d/$name" "$1.now.d/$name" "$current" "$name" >"$current.new"; } 2>&1
            mv -f -- "$current.new" "$current"
        else
            cp -- "$1.d/$name" "$current"
        fi
    done
}

conflicts_accounts() { # print what cannot be merged, and who is at work
    local user
    _unmerged "$2"
    # Whoever is taken away must not be at work.
    [ ! -e "$2.now.d/passwd" ] || cut -d : -f 1 "$2.now.d/passwd" | while read -r user; do
        _has "$2.d/passwd" "$user" || ! _has "$ETC/passwd" "$user" ||
            [ -z "$(find /proc -maxdepth 1 -user "$user" -print -quit 2>/dev/null)" ] ||
            printf '%s\n' "$user has running processes"
    done
}
_has() { cut -d : -f 1 "$1" | grep -qFx -- "$2"; }

CONFLICT=3
# Entries of BEFORE, NOW (what the change left) and what there is: what the change did is undone,
# the rest stays. Groups' members are merged one by one. Conflicts go to standard error.
_merged() { # _merged BEFORE NOW CURRENT NAME: print the file; fails with $CONFLICT
    ! cmp -s "$2" "$3" || { cat "$1"; return; }
    awk -F : -v OFS=: -v file="$4" -v conflict=$CONFLICT '
        function key(line, part) { if (file ~ /^sub/) return line; split(line, part, ":"); return part[1] }
        function minus(a, b, n, i, list, has, out) {
            n = split(b, list, ","); for (i = 1; i <= n; i++) has[list[i]] = 1
            n = split(a, list, ","); out = ""
            for (i = 1; i <= n; i++) if (!(list[i] in has)) out = out (out == "" ? "" : ",") list[i]
            return out
        }
        function plus(a, b) { return a == "" ? b : b == "" ? a : a "," b }
        # What a change made of members is undone in those of today.
        function members(b, n, c) { c = minus(c, minus(n, b)); return plus(c, minus(minus(b, n), c)) }
        FILENAME == ARGV[1] { before[key($0)] = $0; order[++count] = key($0); next }
        FILENAME == ARGV[2] { now[key($0)] = $0; next }
        {
            k = key($0); seen[k] = 1
            if (!(k in now)) { print; next } # made by others since
            if ($0 == now[k]) { if (k in before) print before[k]; next }
            if (k in before && (before[k] == now[k] || before[k] == $0)) { print; next }
            if (k in before && file ~ /^g/) {
                split(before[k], b, ":"); split(now[k], n, ":")
                if (file == "gshadow") $3 = members(b[3], n[3], $3)
                $4 = members(b[4], n[4], $4); print; next
            }
            print; print "/etc/" file ": the entry " k " was changed since" >"/dev/stderr"; failed = 1
        }
        END {
            for (i = 1; i <= count; i++) if (!(order[i] in seen) && !(order[i] in now)) print before[order[i]]
            exit failed ? conflict : 0
        }' "$1" "$2" "$3"
}

# The account tools' own protocol: a hard link NAME.lock to a file that holds a pid. All or none.
LOCKED_FILES="passwd group shadow gshadow subuid subgid"

_lock_accounts() {
    local name mine=$ETC/.nodeproof.$$.lock taken held
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        echo $$ >"$mine" || return 1
        taken='' held=''
        for name in $LOCKED_FILES; do
            if ln -- "$mine" "$ETC/$name.lock" 2>/dev/null; then taken="$taken $name"; else held=$name && break; fi
        done
        rm -f -- "$mine"
        [ -n "$held" ] || return 0
        for name in $taken; do rm -f -- "$ETC/$name.lock"; done
        kill -0 "$(cat "$ETC/$held.lock" 2>/dev/null)" 2>/dev/null || rm -f -- "$ETC/$held.lock"
        sleep 1
    done
    echo "journal: /etc/$held.lock is held by another program" >&2
    return 1
}

_unlock_accounts() {
    local name
    for name in $LOCKED_FILES; do rm -f -- "$ETC/$name.lock"; done
}
