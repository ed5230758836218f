# shellcheck shell=dash
# The item `packages`: which are installed, in which version, held or wanted by a person, and what
# their scripts did to /etc. Its name is the package manager: apt, or dnf (see dnf.sh), as each
# function of the kind notes first.

# What was there before is put back whatever the update guard says.
_APT="apt-get -y -q --no-install-recommends -o Nodeproof::UpdateGuard=off -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
_ROOTS="/var/lib /var/spool /opt /srv /usr/local /home"
# Written by whoever is asked for them; never what a package brings.
_NOT_THEIRS='^/etc/(passwd|shadow|group|gshadow|subuid|subgid)-?$|^/etc/(\.pwd\.lock|ld\.so\.cache|resolv\.conf|mtab|adjtime|machine-id)$'

PM=apt
SAID='' # a file with what dpkg or rpm said a moment ago, where it need not be asked again
# `state<TAB>name<TAB>version` of all that dpkg knows. Its own files are read: apt's tools take a
# second to say the same.
_all() {
    if [ -n "$SAID" ]; then cat -- "$SAID"; else
        dpkg-query -W -f '${db:Status-Abbrev}\t${binary:Package}\t${Version}\n'
    fi
}
_installed() { # also those that were cut off half way
    if [ "$PM" = dnf ]; then _dnf_installed; else _all | sed -n 's/^.[^nc].\t//p' | sort; fi
}
_known() {
    if [ "$PM" = dnf ]; then _dnf_installed | cut -f 1 | sort -u; else
        _all | sed -n '/^un/d;s/^[^\t]*\t\([^\t]*\)\t.*/\1/p' | sort
    fi
}
_torn() { _all | sed -n 's/^..R\t\([^\t]*\)\t.*/\1/p' | sort; } # so cut off that apt does nothing before they are gone
_held() { # of dnf it is a file below /etc
    [ "$PM" = dnf ] || _all | sed -n 's/^h. \t\([^\t]*\)\t.*/\1/p' | sort
}
_auto() { # what nobody asked for, but other packages: NAME:ARCHITECTURE
    if [ "$PM" = dnf ]; then _dnf_auto; return; fi
    [ ! -e /var/lib/apt/extended_states ] || awk -F ': ' '
        $1 == "Package" { name = $2 } $1 == "Architecture" { architecture = $2 }
        $1 == "Auto-Installed" && $2 { print name ":" architecture }' /var/lib/apt/extended_states | sort
}

state_packages() { echo listed; } # and merged with what others did since, never compared as a whole

save_packages() {
    PM=$1
    tar --numeric-owner --acls --xattrs --selinux -C / -cf "$2.tar" etc 2>/dev/null &
    if ! _kept "$2"; then wait $! && return 1; fi
    wait $! && save_accounts '' "$2.accounts" || return 1
    [ -e "${2%/*/*}/roots" ] || { roots >"${2%/*/*}/roots" && kernel >"${2%/*/*}/kernel"; }
}
after_packages() { PM=$1 && _kept "$2.now" && after_accounts '' "$2.accounts"; }

_kept() { # what is compared later: names and versions, marks, and each file of /etc
    local said=$1.said SAID=''
    if [ "$PM" = dnf ]; then _dnf_installed; else _all; fi >"$said" || return 1
    SAID=$said
    _installed >"$1.list" && _known >"$1.known" && _auto >"$1.auto" && _held >"$1.hold" &&
        _manifest >"$1.etc" && rm -f -- "$said"
}

_manifest() { # print two lines a path: what it is, and what it holds
    {
        find /etc -xdev -printf '%p\t%y %m %U %G %l\n'
        find /etc -xdev -type f -exec sha256sum -- {} + | sed 's/^\([^ ]*\) .\(.*\)/\2\t\1/'
    } | awk -F '\t' -v theirs="$_NOT_THEIRS" '$1 !~ theirs' | sort
}

roots() { # what stands at the top of the places where packages and daemons keep things
    # shellcheck disable=SC2086 # a list of folders
    find $_ROOTS -xdev -mindepth 1 -maxdepth 1 2>/dev/null | sort
}

_only_in() { comm -23 -- "$1" "$2"; }

_new() { cut -f 1 "$1.list" | sort >"$1.b" && cut -f 1 "$1.now.list" | sort >"$1.n" && _only_in "$1.n" "$1.b"; }
_gone() { # as name=version
    local name
    cut -f 1 "$1.list" | sort >"$1.b" && cut -f 1 "$1.now.list" | sort >"$1.n" && _only_in "$1.b" "$1.n" |
        while read -r name; do awk -F '\t' -v name="$name" '$1 == name { print $1 "=" $2 }' "$1.list"; done
}
_other_version() { # as name=version, where the version that the change brought is still there
    _installed >"$1.is"
    join -t "$TAB" "$1.list" "$1.now.list" | join -t "$TAB" - "$1.is" |
        awk -F '\t' '$2 != $3 && $3 == $4 { print $1 "=" $2 }'
}
_present() { _known >"$1.is" && comm -12 - "$1.is"; } # of the names on standard input

lasting_packages() { # print what cannot be brought back
    local wanted
    PM=$1
    [ -s "$2.now" ] || return 0
    { _gone "$2"; _other_version "$2"; } | while read -r wanted; do
        _offered "$wanted" || echo "${wanted%%=*}: version ${wanted#*=} is no longer offered by the repositories; it stays as it is"
    done
}
_offered() { # _offered NAME=VERSION
    if [ "$PM" = dnf ]; then _dnf_offered "$1"; else apt-cache madison "${1%%=*}" 2>/dev/null | grep -qF " ${1#*=} "; fi
}

conflicts_packages() {
    local new name path
    PM=$1
    [ -s "$2.now" ] || return 0
    new=$(_new "$2" | _present "$2")
    if [ -n "$new" ]; then
        # What later changes of the run brought will have been taken back by then.
        printf '%s\n' "$new" | sed 's/:.*//' >>"$SEEN.packages"
        # shellcheck disable=SC2086 # a list of names
        if [ "$PM" = dnf ]; then _dnf_along $new; else
            apt-get -s -q remove -- $new 2>&1 | sed -n 's/^Remv \([^ ]*\).*/\1/p'
        fi | sort -u >"$2.b"
        sort -u "$SEEN.packages" >"$2.is"
        _only_in "$2.b" "$2.is" | while read -r name; do echo "$name was installed since and needs what this run installed"; done
    fi
    _manifest >"$2.is"
    # Neither what it was nor what the change left; a file that came with it and was edited is kept.
    _otherwise "$2.is" "$2.etc" >"$2.b"
    _otherwise "$2.is" "$2.now.etc" | comm -12 - "$2.b" >"$2.n"
    _otherwise "$2.etc" "$2.now.etc" | comm -12 - "$2.n" | _in "$2.etc" | while read -r path; do
        _is_later_item "$path" "${2%/*}" || echo "$path: changed since, not by nodeproof"
    done
    _unmerged "$2.accounts"
}

_otherwise() { sort -- "$1" "$2" | uniq -u | cut -f 1 | sort -u; } # paths of which two manifests differ
_paths() { cut -f 1 -- "$1" | sort -u; }
_in() { _paths "$1" >"$1.paths" && comm -12 - "$1.paths"; } # of the paths on standard input, those in a manifest
_not_in() { _paths "$1" >"$1.paths" && comm -23 - "$1.paths"; }
_is_later_item() { # _is_later_item PATH STEP: whether a later change of this run, still to be taken back, explains it
    local items
    for items in "${2%/*}"/[0-9]*/items; do
        [ "${items%/*}" \> "$2" ] && grep -qFx -- "file$TAB$1" "$items" && return 0
    done
    return 1
}

restore_packages() {
    local log=$RUN_DIR/packages.log code=0 new old name
    PM=$1
    export DEBIAN_FRONTEND=noninteractive
    [ -s "$2.now" ] || _after packages "$1" "$2" || return 1 # interrupted: take what is there
    : >"$log"
    _held >"$2.nailed"
    if [ "$PM" = dnf ]; then
        : >"$2.pre"
        [ ! -e "$_DNF_NOTE" ] || { _dnf_replaced && rm -f -- "$_DNF_NOTE"; } >>"$log" 2>&1
    else
        rm -f -- "$HOME_DIR/apt-unfinished"
        dpkg --force-confdef --force-confold --configure -a >>"$log" 2>&1
        _torn >"$2.pre"
    fi
    _new "$2" | comm -12 - "$2.pre" | xargs -r dpkg --purge --force-depends --force-remove-reinstreq -- >>"$log" 2>&1
    new=$(_new "$2" | _present "$2")
    _manifest | cut -f 1 | sort -u >"$2.pre"
    old=$({ _gone "$2"; _other_version "$2"; } | while read -r name; do ! _offered "$name" || echo "$name"; done)
    # shellcheck disable=SC2086 # lists of names
    {
        _exchange "$new" "$old" >>"$log" 2>&1 || code=1
        [ -z "$new" ] || { _set_aside "${2%/*/*}" && _purge "$2" $new >>"$log" 2>&1; } || code=1
    }
    _marked "$2" >>"$log" 2>&1
    [ $code = 0 ] || tail -n 5 "$log" >&2
    _forget_kernel "${2%/*/*}"
    _restore_etc "$2" || code=1
    restore_accounts '' "$2.accounts" || code=1
    ldconfig
    return $code
}

# In one transaction: what belongs together in exactly one version cannot be exchanged one by one.
_exchange() { # _exchange NEW OLD: remove what is new, install what was; lists of names
    local words
    [ -n "$1$2" ] || return 0
    # shellcheck disable=SC2086 # lists of names
    if [ "$PM" = dnf ]; then _dnf_exchange "$1" $2; return; fi
    words=$(printf '%s' "$1" | sed 's/$/-/')
    # shellcheck disable=SC2086 # lists of names
    $_APT --allow-change-held-packages --allow-downgrades install -- $2 $words && return 0
    # Not together: what can be done of it.
    # shellcheck disable=SC2086 # lists of names
    { [ -z "$1" ] || $_APT --allow-change-held-packages remove -- $1; } &&
        { [ -z "$2" ] || $_APT --allow-change-held-packages --allow-downgrades install -- $2; }
}

_purge() { # _purge PREFIX NAME...: those of which nothing was there, not even configuration
    local prefix=$1
    [ "$PM" != dnf ] || return 0
    shift
    printf '%s\n' "$@" | sort >"$prefix.n"
    _only_in "$prefix.n" "$prefix.known" | xargs -r dpkg --purge --
}

_marked() { # wanted by a person, or held, as before
    if [ "$PM" = dnf ]; then _dnf_marked "$1"; return; fi
    _auto >"$1.n" && _only_in "$1.n" "$1.auto" | _had "$1" | xargs -r apt-mark manual
    _only_in "$1.auto" "$1.n" | _had "$1" | xargs -r apt-mark auto
    # What others nailed down since stays so; what was exchanged has lost it.
    { _only_in "$1.now.hold" "$1.hold" >"$1.n" && _only_in "$1.nailed" "$1.n" && _only_in "$1.hold" "$1.now.hold"; } |
        sort -u | _present "$1" >"$1.b"
    _held >"$1.n" && _only_in "$1.b" "$1.n" | xargs -r apt-mark hold
    _only_in "$1.n" "$1.b" | xargs -r apt-mark unhold
}

_had() { # of NAME:ARCHITECTURE, those that were there before and are there now
    cut -f 1 "$1.list" | _present "$1" >"$1.b"
    awk -F : 'NR == FNR { there[$0] = 1; next } $0 in there || $1 in there' "$1.b" -
}

# What daemons of these packages left in the kernel: AppArmor profiles, bridges, forwarding.
_forget_kernel() { # _forget_kernel RUN_FOLDER
    local kind name
    [ -e "$1/kernel.now" ] || return 0
    _only_in "$1/kernel.now" "$1/kernel" | while read -r kind name; do
        case $kind in
            profile) printf %s "$name" >$PROFILES/.remove 2>/dev/null ;;
            bridge) ip link delete "$name" 2>/dev/null ;;
            forwarding) grep -qx 'forwarding 0' "$1/kernel" && echo 0 >/proc/sys/net/ipv4/ip_forward ;;
        esac
    done
    return 0
}
kernel() { # which of these there are
    local bridge
    {
        echo "forwarding $(cat /proc/sys/net/ipv4/ip_forward)"
        sed -n 's/ ([a-z]*)$//;s/^/profile /p' $PROFILES/profiles 2>/dev/null
        for bridge in /sys/class/net/*/bridge; do
            [ ! -d "$bridge" ] || { bridge=${bridge%/bridge} && echo "bridge ${bridge##*/}"; }
        done
    } | sort -u
}

# What daemons of these packages made: kept, out of the way, before a package's script deletes it.
_set_aside() { # _set_aside RUN_FOLDER
    local path
    [ -e "$1/roots.now" ] || return 0
    _only_in "$1/roots.now" "$1/roots" | while read -r path; do
        [ ! -e "$path" ] || _owned "$path" || keep_aside "$path"
    done
}

_owned() { if [ "$PM" = dnf ]; then rpm -qf -- "$1"; else dpkg -S -- "$1"; fi >/dev/null 2>&1; } # by a package

_restore_etc() {
    local failed=0 path
    _manifest >"$1.is"
    {
        _paths "$1.etc" | comm -12 - "$1.pre" | _not_in "$1.is" # gone with a package
        _otherwise "$1.etc" "$1.now.etc"
    } | sort -u >"$1.n"
    _otherwise "$1.is" "$1.etc" | comm -12 - "$1.n" >"$1.b"
    _otherwise "$1.is" "$1.now.etc" >"$1.n"
    _not_in "$1.etc" <"$1.b" | sort -r | _taken_away "$1.n" || failed=1
    _in "$1.etc" <"$1.b" | sed 's,^/,,' >"$1.n"
    [ ! -s "$1.n" ] || tar --numeric-owner --acls --xattrs --xattrs-include='*' --selinux --no-recursion \
        -C / -xpf "$1.tar" --no-unquote --verbatim-files-from -T "$1.n" || failed=1
    return $failed
}

_taken_away() { # _taken_away EDITED: of the paths on standard input; the deepest come first
    local failed=0 path
    while IFS= read -r path; do
        if [ -d "$path" ] && [ ! -L "$path" ]; then
            rmdir -- "$path" 2>/dev/null || : # what is in it is not ours
        elif grep -qFx -- "$path" "$1"; then
            keep_aside "$path" || failed=1
        else
            rm -f -- "$path" || failed=1
        fi
    done
    return $failed
}
