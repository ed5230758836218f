# shellcheck shell=dash
# The items `file` and `tree`; see items.sh for what a kind of state is.

# --- file: a file, link, directory or nothing, with owner, mode, ACL, attributes and label --------

# A larger file is refused: see docs/reference/journal.md.
largest_kb() { printf '%s\n' "${NODEPROOF_LARGEST_KB:-$(limit largest_kb 65536)}"; }

# A backslash in a name is one.
_tar() {
    tar --numeric-owner --acls --xattrs --xattrs-include='*' --selinux --no-recursion --no-unquote -P "$@"
}

_hash() { # of standard input
    local hash
    sha256sum | { read -r hash _ && printf '%s\n' "$hash"; }
}

state_file() {
    if [ -L "$1" ] || [ -f "$1" ] || [ -d "$1" ]; then
        _tar --format=posix --mtime=@0 --pax-option=exthdr.name=x,delete=atime,delete=ctime \
            -cf - -- "$1" 2>/dev/null | _hash
    elif [ -e "$1" ]; then
        stat -c '%F %a %u %g' -- "$1"
    else
        echo absent
    fi
}

save_file() {
    case $1 in /*[!/]) ;; *) printf '%s\n' "journal: $1 is not an absolute path" >&2; return 1 ;; esac
    if [ -L "$1" ] || [ -f "$1" ]; then
        [ -L "$1" ] || [ $(($(stat -c %b -- "$1") / 2)) -le "$(largest_kb)" ] || {
            printf '%s\n' "journal: $1 is larger than $(largest_kb) KiB" >&2
            return 1
        }
        cp -a -- "$1" "$2.file" || return 1
        [ -L "$2.file" ] || _readable "$1" "$2.file"
    elif [ -d "$1" ]; then
        _tar -cf "$2.dir" -- "$1"
    elif [ -e "$1" ]; then
        stat -c '%a %u:%g' -- "$1" >"$2.node"
    fi
}

# What a user has no right to read must not come back to them as a file of theirs.
_readable() { # _readable PATH COPY
    local user
    user=$(_whose "$1")
    [ -z "$user" ] || _as "$user" cat -- "$1" 2>/dev/null | cmp -s - "$2" || {
        printf '%s\n' "journal: $1 is in a folder of $user, who cannot read it" >&2
        return 1
    }
}

restore_file() {
    local beside mode user
    user=$(_whose "$1")
    if [ -n "$user" ]; then
        _restore_as "$user" "$@"
        return
    fi
    beside=$(beside "$1")
    if [ -L "$2.file" ] || [ -e "$2.file" ]; then
        [ ! -d "$1" ] || [ -L "$1" ] || rmdir -- "$1" || return 1
        [ -d "${1%/*}/" ] || mkdir -p -- "${1%/*}" || return 1
        rm -rf -- "$beside"
        # On a full disk a link to the kept copy needs no room.
        { cp -a -- "$2.file" "$beside" && { [ -L "$beside" ] || sync -- "$beside"; }; } ||
            { rm -f -- "$beside" && ln -P -- "$2.file" "$beside"; } || return 1
        mv -fT -- "$beside" "$1" && sync -- "${1%/*}/"
    elif [ -e "$2.dir" ]; then
        { [ -d "$1" ] && [ ! -L "$1" ]; } || { rm -f -- "$1" && _bring_back "$1" "$2"; } || return 1
        _tar -xpf "$2.dir"
    elif [ -e "$2.node" ]; then
        [ ! -e "$1" ] || { read -r mode user <"$2.node" && chown "$user" -- "$1" && chmod "$mode" -- "$1"; }
    elif [ -d "$1" ] && [ ! -L "$1" ]; then
        rmdir -- "$1" 2>/dev/null || keep_aside "$1"
    else
        rm -f -- "$1" "$beside"
    fi
}

# Who else than we decides what a path means: the owner of the first folder or link on the way that
# is not ours. What such a user could have put there, a link to elsewhere, must not be followed.
_whose() { # print that user, or nothing
    ! _ours "${1%/*}" || return 0
    namei -l -- "${1%/*}/" 2>/dev/null | awk -v us="$(id -un)" '
        $1 ~ /^[dl][-r][-w]/ && $2 != "root" && $2 != us { print $2; exit }'
}

_ours() { # _ours FOLDER: whether all on the way to it are folders of ours; asks no other program
    local way='' rest=${1#/}/
    while [ -n "$rest" ]; do
        way=$way/${rest%%/*} rest=${rest#*/}
        [ -d "$way" ] && [ ! -L "$way" ] && [ -O "$way" ] || return 1
    done
}

_as() { # _as USER|NUMBER COMMAND...
    local user=$1 group
    shift
    if group=$(id -g -- "$user" 2>/dev/null); then
        setpriv --reuid "$user" --regid "$group" --init-groups -- "$@"
    else
        setpriv --reuid "$user" --regid "$user" --clear-groups -- "$@"
    fi
}

_TARS="--acls --xattrs --xattrs-include=user.* -xpf -"

_restore_as() { # _restore_as USER PATH PREFIX: with no more rights than the user's
    local name=${3##*/}
    if [ -L "$3.file" ] || [ -e "$3.file" ]; then
        # shellcheck disable=SC2016 # expanded there
        _tar -C "${3%/*}" -cf - -- "$name.file" | _as "$1" sh -c '
            umask 077; set -f
            if [ -d "$2" ] && [ ! -L "$2" ]; then rmdir -- "$2" || exit 1; fi
            rm -rf -- "$3" && mkdir -p -- "$3" && tar -C "$3" $1 && new=$3/$4.file &&
                { [ -L "$new" ] || sync -- "$new"; } && mv -fT -- "$new" "$2"
            code=$?
            rm -rf -- "$3"
            exit $code' sh "$_TARS" "$2" "$(beside "$2")" "$name"
    elif [ -e "$3.dir" ]; then
        _own_again "$2" "$(tar --numeric-owner -P -tvf "$3.dir" | awk 'NR == 1 { print $2 }')" || return 1
        # shellcheck disable=SC2016 # expanded there
        _as "$1" sh -c 'umask 077; set -f
            { [ -d "$2" ] && [ ! -L "$2" ]; } || rm -f -- "$2"
            exec tar -P $1' sh "$_TARS" "$2" <"$3.dir"
    elif [ -e "$3.node" ]; then
        [ ! -e "$2" ] || _as "$1" chmod "$(cut -d ' ' -f 1 "$3.node")" -- "$2"
    elif [ -d "$2" ] && [ ! -L "$2" ]; then
        _as "$1" rmdir -- "$2" 2>/dev/null || printf 'kept\t%s\t%s\n' "$2" "$2" # what they put there
    else
        _as "$1" rm -f -- "$2" "$(beside "$2")"
    fi
}

beside() { # beside PATH: where new content of a file waits for its name; no daemon reads dot files
    local name=${1##*/}
    [ ${#name} -le 240 ] || name=$(printf %s "$name" | sha256sum | cut -c 1-64)
    printf '%s/.%s.nodeproof' "${1%/*}" "$name"
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
restore_tree() {
    if [ "$(cat "$2.was")" = absent ]; then keep_aside "$1"; else _bring_back "$1" "$2"; fi
}

keep_aside() { # keep_aside PATH: take it away without losing it
    local aside user
    [ -e "$1" ] || [ -L "$1" ] || return 0
    user=$(_whose "$1")
    [ -z "$user" ] || { printf 'kept\t%s\t%s\n' "$1" "$1"; return 0; } # its place is theirs
    if [ -d "$1" ] && [ ! -L "$1" ] && [ -z "$(find "$1" -mindepth 1 ! -type d -print -quit)" ]; then
        rm -rf -- "$1" # nothing but empty directories
        return
    fi
    aside=$(_aside "$1") || return 1
    [ -z "$KEEPING" ] || { printf '%s\t%s\n' "$1" "$aside" >>"$KEEPING/kept" && sync -- "$KEEPING/kept"; } || return 1
    mv -T -- "$1" "$aside" || return 1
    printf 'kept\t%s\t%s\n' "$1" "$aside"
}

_aside() { # _aside PATH: print a free place for it among what the run kept
    local place=$RUNS/$REVERTING/kept$1 n=0
    mkdir -p -- "${place%/*}" || return 1
    while [ -e "$place" ] || [ -L "$place" ]; do
        n=$((n + 1)) place=$RUNS/$REVERTING/kept$1.$n
    done
    printf %s "$place"
}

spare() { # spare KIND NAME PREFIX: keep a copy of a file that neither was so before nor was left so
    local is aside
    [ "$1" = file ] && { [ -f "$2" ] || [ -L "$2" ]; } || return 0
    is=$(state_file "$2")
    [ "$is" != "$(cat "$3.was")" ] && [ "$is" != "$(cat "$3.now" 2>/dev/null)" ] || return 0
    aside=$(_aside "$2") && { cp -a -- "$2" "$aside" || ln -fP -- "$2" "$aside"; } || return 1
    printf 'kept\t%s\t%s\n' "$2" "$aside"
}

_bring_back() { # _bring_back PATH PREFIX: when taking back is taken back: what it had moved aside
    local aside=${2%/*/*}/kept$1
    [ -d "$aside" ] && [ ! -L "$aside" ] && [ ! -e "$1" ] && [ ! -L "$1" ] || return 0
    mkdir -p -- "${1%/*}" && mv -T -- "$aside" "$1"
}

put_back() { # put_back STEP: what was set aside when this step took another one back
    local path aside
    [ -e "$1/kept" ] || return 0
    tac "$1/kept" | while IFS="$TAB" read -r path aside; do
        [ -e "$aside" ] || [ -L "$aside" ] || continue
        if [ -e "$path" ] || [ -L "$path" ]; then
            printf 'kept\t%s\t%s\n' "$path" "$aside" # somebody made it anew
        else
            mkdir -p -- "${path%/*}" && mv -T -- "$aside" "$path" || exit 1
            rmdir -p --ignore-fail-on-non-empty -- "${aside%/*}"
        fi
    done
}
