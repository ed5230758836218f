# shellcheck shell=dash
# The item `accounts`: users and groups, restored entry by entry, so that what others changed since
# stays. Its name says nothing.

ACCOUNT_FILES="passwd shadow group gshadow subuid subgid"

_accounts() { # print those of the files that exist
    local name
    for name in $ACCOUNT_FILES; do
        [ ! -e "$ETC/$name" ] || echo "$ETC/$name"
    done
}

state_accounts() { _accounts | xargs cat -- | sha256sum | cut -d ' ' -f 1; }

save_accounts() { # also the tools' own backups, passwd- and so on
    local path name
    for path in $(_accounts); do
        name=${path##*/}
        cp -a -- "$path" "$2.$name" || return 1
        [ ! -e "$path-" ] || cp -a -- "$path-" "$2.$name-" || return 1
    done
    sync -- "$2".*
}

after_accounts() { # what the change left, to tell it from what others did later
    local path
    for path in $(_accounts); do cp -- "$path" "$2.now.${path##*/}" || return 1; done
}

restore_accounts() {
    local code=0 name
    _lock_accounts || return 1
    for name in $ACCOUNT_FILES; do
        [ -e "$2.$name" ] || continue
        [ -e "$2.now.$name" ] || cp -- "$ETC/$name" "$2.now.$name" # interrupted: take what is there
        _merged "$2.$name" "$2.now.$name" "$ETC/$name" >"$2.merged" || code=1
        cmp -s "$2.merged" "$ETC/$name" && continue
        cp -a -- "$2.$name" "$ETC/.$name.nodeproof" && cat "$2.merged" >"$ETC/.$name.nodeproof" &&
            sync -- "$ETC/.$name.nodeproof" && mv -fT -- "$ETC/.$name.nodeproof" "$ETC/$name" || code=1
    done
    for name in $ACCOUNT_FILES; do
        [ ! -e "$2.$name-" ] || cp -a -- "$2.$name-" "$ETC/$name-" || code=1
    done
    rm -f -- "$2.merged"
    _unlock_accounts
    return $code
}

conflicts_accounts() { # print what cannot be merged, and who is at work
    local user
    _unmerged "$2"
    # Whoever is taken away must not be at work.
    [ ! -e "$2.now.passwd" ] || cut -d : -f 1 "$2.now.passwd" | while read -r user; do
        grep -q "^$user:" "$2.passwd" || ! grep -q "^$user:" "$ETC/passwd" ||
            [ -z "$(find /proc -maxdepth 1 -user "$user" -print -quit 2>/dev/null)" ] ||
            echo "$user has running processes"
    done
}

_unmerged() { # _unmerged PREFIX: print the entries that the change and somebody else changed
    local name
    for name in $ACCOUNT_FILES; do
        [ ! -e "$1.now.$name" ] || { _merged "$1.$name" "$1.now.$name" "$ETC/$name" >/dev/null; } 2>&1
    done
}

# Entries of BEFORE, NOW (what the change left) and what there is: what the change did is undone,
# the rest stays. Groups' members are merged one by one. Conflicts go to standard error.
_merged() { # _merged BEFORE NOW CURRENT
    awk -F : -v OFS=: -v file="${3##*/}" '
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
            if (before[k] == now[k] || before[k] == $0) { print; next }
            if (k in before && file ~ /^g/) {
                split(before[k], b, ":"); split(now[k], n, ":"); split($0, c, ":")
                if (file == "gshadow") c[3] = members(b[3], n[3], c[3])
                c[4] = members(b[4], n[4], c[4])
                print c[1], c[2], c[3], c[4]; next
            }
            print; print "/etc/" file ": the entry " k " was changed since" >"/dev/stderr"; failed = 1
        }
        END {
            for (i = 1; i <= count; i++) if (!(order[i] in seen) && !(order[i] in now)) print before[order[i]]
            exit failed
        }' "$1" "$2" "$3"
}

# The account tools' own protocol: a hard link NAME.lock to a file that holds a pid.
_lock_accounts() {
    local name
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        echo $$ >"$ETC/.nodeproof.lock"
        if ln "$ETC/.nodeproof.lock" "$ETC/passwd.lock" 2>/dev/null; then
            for name in group shadow gshadow; do
                ln -f "$ETC/.nodeproof.lock" "$ETC/$name.lock"
            done
            rm -f "$ETC/.nodeproof.lock"
            return 0
        fi
        kill -0 "$(cat "$ETC/passwd.lock")" 2>/dev/null || rm -f "$ETC/passwd.lock"
        sleep 1
    done
    rm -f "$ETC/.nodeproof.lock"
    echo "journal: /etc/passwd.lock is held by another program" >&2
    return 1
}
_unlock_accounts() { rm -f "$ETC/passwd.lock" "$ETC/group.lock" "$ETC/shadow.lock" "$ETC/gshadow.lock"; }
