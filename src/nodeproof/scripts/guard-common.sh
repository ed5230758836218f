# shellcheck shell=dash
# The guarded sets on the node, a file each, and what is said where one is broken. The parts of the
# program are joined by nodeproof.updates.guard: dkms.sh, this one, and those that need it.
# A line of a set is one of
#   package NAME VERSION     is installed in this version
#   module NAME VERSION      DKMS builds it, for each kernel
#   module * *               the same of whatever DKMS has built for some kernel
#   loaded NAME VERSION      a kernel module that is loaded, in this version
#   beside NAME              a package without which no kernel comes; {kernel} is the kernel's version
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
sets=/etc/nodeproof/update-guard.d

guarded() { # whether anything is
    local at
    for at in "$sets"/*.conf; do [ ! -f "$at" ] || return 0; done
    return 1
}
words() { # words KIND: print `SET WORD...` of all lines of this kind
    local at stack
    for at in "$sets"/*.conf; do
        [ -f "$at" ] || continue
        stack=${at##*/} stack=${stack%.conf}
        awk -v kind="$1" -v stack="$stack" '$1 == kind { $1 = stack; print }' "$at"
    done
}
modules() { # print SET NAME VERSION of all modules
    local stack name version
    words module | while read -r stack name version; do
        if [ "$name" = '*' ]; then dkms_built </dev/null | sed "s/^/$stack /"; else echo "$stack $name $version"; fi
    done
}
unknown_words() { # lines that this program does not understand
    local at
    for at in "$sets"/*.conf; do
        [ -f "$at" ] || continue
        awk -v at="$at" '
            /^#/ || NF == 0 || ($1 ~ /^(package|module|loaded)$/ && NF == 3) || ($1 == "beside" && NF == 2) { next }
            { print at ": line " NR " is not understood: apply again with nodeproof" }' "$at"
    done
}
installed() { # installed PACKAGE: print its version; fails where it is not installed
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2016 # dpkg's own variables
        dpkg-query -W -f '${db:Status-Status} ${Version}\n' -- "$1" 2>/dev/null |
            awk '$1 == "installed" { print $2; found = 1; exit } END { exit !found }'
    else
        rpm -q --qf '%|epoch?{%{epoch}:}|%{version}-%{release}\n' -- "$1" 2>/dev/null
    fi
}
filled() { # filled PATTERN KERNEL
    printf '%s\n' "$1" | awk -v kernel="$2" '{
        while (at = index($0, "{kernel}")) $0 = substr($0, 1, at - 1) kernel substr($0, at + 8)
        print
    }'
}
one_line() { awk 'NF { printf "%s%s", sep, $0; sep = "; " } END { print "" }' | cut -c 1-600; } # of what it reads
told() { # to whoever watches, and to the log
    echo "nodeproof: $1" >&2
    logger -t nodeproof-update-guard -- "$1" 2>/dev/null || :
}
