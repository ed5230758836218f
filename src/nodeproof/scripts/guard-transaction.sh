# shellcheck shell=dash
# What apt is about to do, held against the guarded sets. apt asks before it unpacks anything
# (DPkg::Pre-Install-Pkgs, version 3), and does nothing where the answer is no. Its lines, after its
# settings and an empty line, with - where there is no such version:
#   NAME OLD ARCH MULTI-ARCH </=/> NEW ARCH MULTI-ARCH FILE|**CONFIGURE**|**REMOVE**
work='' dkms_tree=${dkms_tree:-/var/lib/dkms}

transaction() {
    local kernel name new action
    if ! guarded; then
        cat >/dev/null
        return 0
    fi
    work=$(mktemp -d /var/tmp/nodeproof-guard.XXXXXX) || return 1
    trap 'rm -rf -- "$work"' EXIT
    cat >"$work/said"
    sed '/^$/q' "$work/said" >"$work/settings"
    sed '1,/^$/d' "$work/said" | awk '{ print $1, $2, $6, $NF }' >"$work/acts"
    if grep -qix 'Nodeproof::UpdateGuard=off' "$work/settings"; then
        told 'the update guard is switched off for what apt does now (Nodeproof::UpdateGuard)'
        return 0
    fi
    {
        grep -qx 'VERSION 3' "$work/settings" || echo 'apt does not say what it is about to do'
        unknown_words
        while read -r name _ new action; do
            case $action in
                '**CONFIGURE**') ;; # it is there already
                '**REMOVE**') ! installed "$name" >/dev/null || _leaves "$name" ;;
                *) _becomes "$name" "$new" ;;
            esac
        done <"$work/acts"
        _new_kernels >"$work/kernels"
        while read -r kernel; do _comes "$kernel"; done <"$work/kernels"
        # Headers alone are enough for DKMS to build, and to fail in the middle of the transaction.
        _new_headers | sort -u | comm -23 - "$work/kernels" >"$work/headers"
        while read -r kernel; do _built_for "$kernel"; done <"$work/headers"
    } >"$work/why"
    [ -s "$work/why" ] || return 0
    _refused
    return 1
}

_refused() {
    local line
    {
        echo 'nodeproof: this would pull apart what belongs together, so nothing is done:'
        sed 's/^/  /' "$work/why"
        echo 'To go on, leave these packages out (apt-mark hold NAME), or ask for what belongs together in'
        echo 'the inventory and run nodeproof apply. Once, against all advice: -o Nodeproof::UpdateGuard=off'
    } >&2
    while read -r line; do logger -t nodeproof-update-guard -- "refused: $line" 2>/dev/null || :; done <"$work/why"
}

_leaves() { # _leaves NAME: what is wrong with its removal
    words package | awk -v name="$1" '$2 == name { print name " would be removed; " $3 " is guarded (" $1 ")" }'
}
_becomes() { # _becomes NAME VERSION
    words package | awk -v name="$1" -v new="$2" '
        $2 == name && $3 != new { print name " would become " new "; " $3 " is guarded (" $1 ")" }'
}

_new_kernels() { # versions of kernels that are not here yet
    awk '$2 == "-" && $4 ~ /^\// { print $1 }' "$work/acts" | sed -n '
        /-dbg\(sym\)\{0,1\}$/d
        s/-unsigned$//
        s/^linux-image-\(unsigned-\)\{0,1\}\([0-9]\{1,\}\.[0-9].*\)$/\2/p' | sort -u
}
_new_headers() { # versions of kernels whose headers are not here yet
    awk '$2 == "-" && $4 ~ /^\// { print $1 }' "$work/acts" |
        sed -n '/-common\(-rt\)\{0,1\}$/d; s/^linux-headers-\([0-9]\{1,\}\.[0-9].*-[a-z].*\)$/\1/p'
}

_comes() { # _comes KERNEL: what is wrong with it
    local stack package
    _beside_of | while read -r stack package; do
        package=$(filled "$package" "$1")
        _will_be "$package" || echo "kernel $1 would come without $package ($stack)"
    done >"$work/beside"
    cat "$work/beside"
    [ ! -s "$work/beside" ] || return 0 # nothing to build with
    _built_for "$1"
}
_beside_of() { # SET PACKAGE of each that no kernel comes without
    words beside
    words module | sed -n 's/^\([^ ]*\) \* \*$/\1/p' | while read -r stack; do
        [ -z "$(dkms_built </dev/null)" ] || echo "$stack linux-headers-{kernel}"
    done
}
_built_for() { # _built_for KERNEL: what of the modules does not build
    local stack module version
    _modules_then >"$work/modules"
    while read -r stack module version; do
        _builds "$1" "$module" "$version" </dev/null >"$work/explained" ||
            echo "kernel $1: $module $version does not build for it ($stack): $(one_line <"$work/explained")"
    done <"$work/modules"
}
_modules_then() { # SET NAME VERSION of all modules after the transaction
    local stack name version owner action
    words module | grep -v ' \* \*$'
    words module | sed -n 's/^\([^ ]*\) \* \*$/\1/p' | while read -r stack; do
        dkms_built </dev/null | while read -r name version; do
            owner=$(dpkg-query -S "/usr/src/$name-$version/dkms.conf" 2>/dev/null | sed 's/:.*//')
            action=$(awk -v name="$owner" '$1 == name { print $4; exit }' "$work/acts")
            case $action in
                /*) # it comes in another version, which is the one to try
                    echo "$owner" >>"$work/owners"
                    dpkg-deb --fsys-tarfile "$action" | tar -t |
                        sed -n "s#^\./usr/src/$name-\([^/]*\)/dkms\.conf\$#$stack $name \1#p"
                    ;;
                '**REMOVE**') ;;
                *) echo "$stack $name $version" ;;
            esac
        done
    done
}
_will_be() { # _will_be PACKAGE: whether it is there after the transaction
    local name action
    while read -r name _ _ action; do
        [ "$name" != "$1" ] || [ "$action" = '**CONFIGURE**' ] || break
    done <"$work/acts"
    if [ "${name:-}" = "$1" ]; then [ "$action" != '**REMOVE**' ]; else installed "$1" >/dev/null; fi
}

# A kernel comes with its headers, and its DKMS modules are tried before it does: the headers are
# unpacked beside the system and seen by this build only; what it makes is thrown away.
_builds() { # _builds KERNEL MODULE VERSION: say why it does not
    # Where dkms is not here yet, no module is either, and there is nothing to pull apart.
    command -v dkms >/dev/null && [ "$(dkms_is "$2" "$3" "$1")" != installed ] || return 0
    [ -d "$work/root" ] || _unpacked || { echo 'its headers cannot be unpacked'; return 1; }
    [ -f "$work/root/usr/src/$2-$3/dkms.conf" ] || [ -f "/usr/src/$2-$3/dkms.conf" ] || return 0
    told "trying whether $2 $3 builds for the kernel $1: as long as its build takes"
    timeout 3600 nice unshare --mount --propagation private -- \
        "$0" trial "$work" "$@" >"$work/tried" 2>&1 && return 0
    if [ -f "$work/dkms/$2/$3/build/make.log" ]; then
        dkms_said "$work/dkms/$2/$3/build/make.log"
    else
        tail -n 3 "$work/tried"
    fi
    return 1
}
_unpacked() { # what a build needs, and guarded packages, which may bring the source
    local name action
    mkdir -p "$work/root/usr/lib" || return 1
    while read -r name _ _ action; do
        case $name in
            linux-headers-* | linux-kbuild-* | linux-compiler-* | gcc-* | cpp-* | libgcc-*-dev) ;;
            *) { words package && sed 's/^/- /' "$work/owners" 2>/dev/null; } |
                awk -v name="$name" '$2 == name { found = 1 } END { exit !found }' || continue ;;
        esac
        case $action in /*) dpkg-deb -x "$action" "$work/root" || return 1 ;; esac
    done <"$work/acts"
    # Packages of releases that knew /lib beside /usr/lib.
    [ ! -d "$work/root/lib" ] || cp -a "$work/root/lib/." "$work/root/usr/lib/"
}

trial() { # trial WORK KERNEL MODULE VERSION: in a mount namespace of its own
    work=$1
    [ -L /lib ] || { echo 'it cannot be tried where /lib is not /usr/lib'; return 1; }
    mkdir -p "$work/dkms" || return 1
    mount -t overlay overlay -o "ro,lowerdir=$work/root/usr:/usr" /usr ||
        { echo 'it cannot be tried: this kernel lays no folders over others'; return 1; }
    # Where there is no signing key yet, a trial makes none.
    [ ! -d "$dkms_tree" ] || { mount --bind "$dkms_tree" "$dkms_tree" &&
        mount -o remount,bind,ro "$dkms_tree"; } || return 1
    cd / || return 1
    dkms add -m "$3" -v "$4" --dkmstree "$work/dkms" || return 1
    dkms build -m "$3" -v "$4" -k "$2" --dkmstree "$work/dkms"
}
