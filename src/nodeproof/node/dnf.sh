# shellcheck shell=dash
# What `packages` needs of rpm and dnf. Versions are [EPOCH:]VERSION-RELEASE; holds are a file below
# /etc, so they come back with it. Plugins are left out: they would keep what is held.

_DNF="dnf -q -y --disableplugin=versionlock --setopt=*.module_hotfixes=1"

# Of some packages dnf installs a new version beside the old one: kernels, their headers and modules.
# Each build is a package of its own here, NAME-VERSION-RELEASE. Source: installonlypkgs, dnf.conf(5).
_dnf_beside() { # the names of such packages that are installed
    rpm -q --qf '\t%{name}\n' --whatprovides kernel kernel-PAE 'installonlypkg(kernel)' \
        'installonlypkg(kernel-module)' 'installonlypkg(vm)' 'multiversion(kernel)' 2>/dev/null |
        sed -n 's/^\t//p' | sort -u
}
_dnf_installed() { # NAME<TAB>VERSION; keys that rpm trusts are no packages, and of two versions the older was there first
    [ -z "$SAID" ] || { cat -- "$SAID"; return; }
    {
        _dnf_beside
        rpm -qa --qf '%{name}\t%|epoch?{%{epoch}:}|%{version}-%{release}\n' | grep -v '^gpg-pubkey	' | sort -V
    } | awk -F '\t' '
        NF == 1 { beside[$1]; next }
        $1 in beside { build = $2; sub(/^[0-9]+:/, "", build); print $1 "-" build "\t" $2; next }
        !seen[$1]++' | sort
}
_dnf_full() { # _dnf_full NAME=VERSION: as dnf takes it; a build has its version in its name
    case ${1%%=*} in *-"${1#*=}") printf '%s\n' "${1%%=*}" ;; *) printf '%s-%s\n' "${1%%=*}" "${1#*=}" ;; esac
}
_DNF_NOTE=$HOME_DIR/dnf-unfinished # of what dnf exchanges: NAME.ARCHITECTURE and the package that comes
whole() { # finish what dnf was cut off from: what was replaced goes, and scripts run again
    local name full again=''
    [ -e "$_DNF_NOTE" ] || return 0
    _dnf_replaced || return 1
    while read -r name full; do
        ! rpm -q -- "$full" >/dev/null || again="$again $full"
    done <"$_DNF_NOTE"
    # shellcheck disable=SC2086 # a list of packages
    [ -z "$again" ] || $_DNF reinstall -- $again >&2 || return 1
    rm -f -- "$_DNF_NOTE"
}
_dnf_replaced() { # rpm has both, where it was cut off in between
    local name full
    while read -r name full; do
        ! _dnf_beside | grep -qxF -- "${name%.*}" || continue
        ! rpm -q -- "$full" >/dev/null || rpm -q --qf '%{nvra}\n' -- "$name" | grep -vxF -- "$full"
    done <"$_DNF_NOTE" | xargs -r rpm -e --nodeps --
}
_dnf_auto() { # what nobody asked for; dnf takes it that what came past it was asked for
    dnf -q -C repoquery --installed --qf '%{name} %{reason}' 2>/dev/null | awk '
        NF { all[$1] } $2 == "user" || $2 == "unknown" { asked[$1] }
        END { for (name in all) if (!(name in asked)) print name }' | sort
}
_dnf_offered() { # _dnf_offered NAME=VERSION: in whichever stream of a module
    [ -n "$($_DNF repoquery --available --qf x "$(_dnf_full "$1")" 2>/dev/null)" ]
}
_dnf_along() { # _dnf_along NAME...: what would go with these
    $_DNF --setopt=clean_requirements_on_remove=0 --assumeno remove -- "$@" 2>/dev/null | awk -v builds=" $* " '
        /^(Removing|Removing dependent packages):/ { on = 1; next }
        /^[^ ]/ { on = 0 }
        on && NF >= 4 {
            build = $3
            sub(/^[0-9]+:/, "", build)
            build = $1 "-" build
            print index(builds, " " build " ") ? build : $1
        }'
}
_dnf_exchange() { # _dnf_exchange NEW NAME=VERSION...: in one transaction
    local name new=$1 script=$RUN_DIR/dnf.shell
    shift
    {
        for name in $new; do printf 'remove %s\n' "$name"; done
        for name in "$@"; do _dnf_verb "${name%%=*}" "${name#*=}"; done
        echo run
    } >"$script"
    $_DNF --setopt=clean_requirements_on_remove=0 --allowerasing shell "$script"
    # Its exit code says nothing.
    for name in $new; do ! rpm -q "$name" || return 1; done
    for name in "$@"; do _dnf_installed | grep -qxF "${name%%=*}$TAB${name#*=}" || return 1; done
}
_dnf_verb() { # _dnf_verb NAME VERSION
    if ! rpm -q "$1" >/dev/null; then
        printf 'install %s\n' "$(_dnf_full "$1=$2")"
    elif [ "$(printf '%s\n' "$2" "$(rpm -q --qf '%|epoch?{%{epoch}:}|%{version}-%{release}\n' "$1")" | sort -V | head -n 1)" = "$2" ]; then
        printf 'downgrade %s-%s\n' "$1" "$2"
    else
        printf 'upgrade %s-%s\n' "$1" "$2"
    fi
}
_dnf_marked() { # wanted by a person, as before
    _dnf_auto >"$1.n"
    cut -f 1 "$1.list" | _present "$1" >"$1.b"
    _only_in "$1.n" "$1.auto" | comm -12 - "$1.b" | xargs -r dnf -q -y mark install
    _only_in "$1.auto" "$1.n" | comm -12 - "$1.b" | xargs -r dnf -q -y mark remove
}
