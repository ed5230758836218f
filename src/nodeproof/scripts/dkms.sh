# shellcheck shell=dash
# What DKMS has for a kernel, and why a build failed. Functions only; others begin with them.
dkms_tree=${dkms_tree:-/var/lib/dkms}

dkms_headers() { # dkms_headers KERNEL: whether modules can be built for it
    [ -d "/lib/modules/$1/build/include" ]
}

dkms_is() { # dkms_is MODULE VERSION KERNEL: print installed, built or added; nothing if unknown
    dkms status -m "$1" -v "$2" -k "$3" 2>/dev/null |
        sed -n 's/^[^:]*: \(installed\|built\|added\).*/\1/p' | head -n 1
}

dkms_built() { # print NAME VERSION of each module that some kernel has, the newest version of each
    dkms status 2>/dev/null |
        sed -n 's#^\([^,/ ]*\)[,/] *\([^, ]*\), .*: installed.*#\1 \2#p' | sort -k 1,1 -k 2,2rV -u |
        awk '!seen[$1]++'
}

dkms_log() { # dkms_log MODULE VERSION KERNEL: print the path of its build's log, where it failed
    # A build that went well leaves its log elsewhere. dkms 3.1 put its own name into the line.
    [ -f "$dkms_tree/$1/$2/build/make.log" ] &&
        head -n 1 -- "$dkms_tree/$1/$2/build/make.log" | grep -qF -- " for kernel $3 (" &&
        printf '%s\n' "$dkms_tree/$1/$2/build/make.log"
}

dkms_said() { # dkms_said LOG: print the few lines of it that explain, without folders
    awk '
        function short(line) {
            gsub(/\/[^ :]*\//, "", line)
            return substr(line, 1, 240)
        }
        function keep(kind, line) {
            line = short(line)
            what = line
            sub(/^[^:]*:[0-9:]* /, "", what) # the same complaint at another line
            if (!((kind, what) in seen)) { seen[kind, what]; found[kind, ++count[kind]] = line }
        }
        / error: / || /^error: /                        { keep(1, $0); next }
        /^ERROR: modpost: / || / undefined!$/            { keep(1, $0); next }
        /(not found|No such file or directory|No space left on device)/ { keep(2, $0); next }
        /^make.*: \*\*\* /                               { keep(3, $0); next }
        /^[Ee]rror[!:]/                                  { keep(3, $0); next }
        NF                                               { last = $0 }
        END {
            for (kind = 1; kind <= 3; kind++) if (count[kind]) {
                for (n = 1; n <= count[kind] && n <= 2; n++) print found[kind, n]
                if (count[kind] > 2) print "and " count[kind] - 2 " more of the kind"
                exit
            }
            if (last != "") print short(last)
        }' "$1"
}

# A module may say which kernels it is not for; dkms asks its file in the same way.
dkms_excluded() ( # dkms_excluded KERNEL DKMS.CONF
    kernelver=$1 arch=$(uname -m) kernel_source_dir=/lib/modules/$1/build
    export kernelver arch kernel_source_dir
    bash -c '
        . "$1" >/dev/null 2>&1
        [ -z "$BUILD_EXCLUSIVE_KERNEL" ] || [[ $kernelver =~ $BUILD_EXCLUSIVE_KERNEL ]] || exit 0
        [ -z "$BUILD_EXCLUSIVE_ARCH" ] || [[ $arch =~ $BUILD_EXCLUSIVE_ARCH ]] || exit 0
        [ -r "/boot/config-$kernelver" ] || exit 1
        for one in $BUILD_EXCLUSIVE_CONFIG; do
            there=1; grep -qE "^${one#!}=[ym]" "/boot/config-$kernelver" && there=0
            case $one in !*) [ $there = 1 ] || exit 0;; *) [ $there = 0 ] || exit 0;; esac
        done
        exit 1' bash "$2" </dev/null
)

dkms_report() { # dkms_report KERNEL: a line for each thing, as facts.dkms reads it
    local at module version log
    if dkms_headers "$1"; then echo "headers=$1 yes"; else echo "headers=$1 no"; fi
    for at in "$dkms_tree"/*/*/source/dkms.conf; do
        [ -f "$at" ] || continue
        at=${at%/source/*} version=${at##*/} module=${at%/*} module=${module##*/}
        ! dkms_excluded "$1" "$at/source/dkms.conf" || echo "excluded=$1 $module/$version"
        ! log=$(dkms_log "$module" "$version" "$1") ||
            dkms_said "$log" | sed "s|^|failed=$1 $module/$version |"
    done
}

dkms_signers() { # dkms_signers KERNEL: whose signature the modules bear that would be loaded
    local at name
    for at in "$dkms_tree"/*/*/"$1"/*/module/*.ko*; do
        [ -e "$at" ] || continue
        name=${at##*/} name=${name%%.ko*}
        printf 'signer=%s %s %s\n' "$1" "$name" \
            "$(modinfo -k "$1" -F signer "$name" 2>/dev/null | head -n 1)"
    done
}

secure_boot() { # yes, no, or unknown: a machine with EFI that does not say
    local state
    state=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
    state=$(od -An -tu1 -j4 -N1 "$state" 2>/dev/null | tr -d ' ')
    if [ "$state" = 1 ] || mokutil --sb-state 2>/dev/null | grep -q enabled; then echo yes
    elif [ "$state" = 0 ] || [ ! -d /sys/firmware/efi ]; then echo no
    else echo unknown; fi
}
