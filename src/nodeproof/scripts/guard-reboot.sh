# shellcheck shell=dash
# The reboot of a node by itself, after an unattended upgrade: where one is asked for, nothing runs,
# and the kernel that boots next has the modules that others have.
asked=/run/reboot-required processes=/proc kernels_at=/boot

reboot_when() { # reboot_when HOOK [CALENDAR MINUTES]: HOOK is - where there is none
    local why
    [ -e "$asked" ] || return 0
    if [ $# -gt 1 ] && ! _in_window "$2" "$3"; then
        told 'a reboot is needed, but the window is over'
        return 0
    fi
    why=$(_not_built; [ "$1" != - ] || _work)
    if [ -n "$why" ]; then
        told "a reboot is needed, but not done: $(printf '%s\n' "$why" | one_line)"
        return 1
    fi
    if [ "$1" != - ] && ! "$1"; then
        told "a reboot is needed, but not done: $1 failed"
        return 1
    fi
    told 'rebooting: an unattended upgrade asks for it'
    shutdown -r +1 'nodeproof: security updates need a reboot'
}
_in_window() { # _in_window CALENDAR MINUTES: whether one that began lasts
    local begun
    begun=$(systemd-analyze calendar --base-time="-${2}min" "$1" 2>/dev/null |
        sed -n 's/^ *Next elapse: [A-Z][a-z]* //p' | head -n 1) && [ -n "$begun" ] || return 1
    [ "$(date -d "$begun" +%s)" -le "$(date +%s)" ]
}
_not_built() { # what the newest kernel lacks of what others have
    local next name version
    next=$(for name in "$kernels_at"/vmlinuz-*; do [ -e "$name" ] && echo "${name#*/vmlinuz-}"; done |
        sort -V | tail -n 1)
    [ -n "$next" ] || return 0
    dkms_built | while read -r name version; do
        [ "$(dkms_is "$name" "$version" "$next" </dev/null)" = installed ] ||
            echo "$name $version is not built for the kernel $next"
    done
}
_work() { # what a reboot would kill, as facts.work knows it
    local at name
    for at in "$processes"/[0-9]*; do
        { IFS= read -r name <"$at/comm"; } 2>/dev/null || continue
        case $name in
            slurmstepd*)
                case $(tr '\0' ' ' 2>/dev/null <"$at/cmdline") in *infinity*) ;; *) echo 'a Slurm job runs' ;; esac ;;
            conmon | containerd-shim*) echo 'a container runs' ;;
        esac
    done | sort -u
}
