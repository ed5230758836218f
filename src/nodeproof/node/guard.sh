# shellcheck shell=dash
# The guard: a change that could cut access is taken back by the node itself, unless a new
# connection confirms it in time. It outlives the controller, the connection, restarts of daemons
# (systemd keeps the timer) and of the machine (a unit at boot, before the network).

TIMER=nodeproof-guard
PACKAGES_S=900 # what taking packages back may add to the time
BOOT_UNIT=$ETC/systemd/system/nodeproof-guard-boot.service
BOOT_LINK=$ETC/systemd/system/sysinit.target.wants/nodeproof-guard-boot.service

arm() { # arm RUN SECONDS
    mkdir -p -- "${BOOT_LINK%/*}" && put "$BOOT_UNIT" <<EOF || return 1
[Unit]
Description=Take back nodeproof's unconfirmed change
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target nftables.service firewalld.service ufw.service ssh.service sshd.service apparmor.service basic.target

[Service]
Type=oneshot
TimeoutStartSec=900
ExecStart=$HOME_DIR/bin/journal expire $1 the-machine-was-restarted
EOF
    ln -sfn "$BOOT_UNIT" "$BOOT_LINK" && printf '%s\n' "$1" | put "$ARMED" || return 1
    note "$1" "armed $2"
    for _ in 1 2 3 4 5; do # while systemd executes itself anew, nobody answers
        ! _timer "$1" "$2" || return 0
        sleep 1
    done
    disarm
    return 1
}

_timer() { # _timer RUN SECONDS
    systemd-run --quiet --collect --unit="$TIMER" --on-active="$2" --timer-property=AccuracySec=1 \
        -- "$HOME_DIR/bin/journal" expire "$1" "nobody-confirmed-it-within-$2-seconds"
}

again() { # again RUN SECONDS: the time counts from now; should the timer be lost, the unit at boot stays
    systemctl stop "$TIMER.timer" 2>/dev/null || :
    _timer "$1" "$2"
}

disarm() {
    rm -f -- "$ARMED" "$BOOT_LINK" "$BOOT_UNIT"
    systemctl stop "$TIMER.timer" 2>/dev/null || :
}

armed() { [ -e "$ARMED" ] && [ "$(cat "$ARMED")" = "$1" ]; } # armed RUN

confirm() { # confirm RUN: over a new connection, which proves that one can be made
    is_run "$1" || die "there is no run $1"
    [ -e "$ARMED" ] || [ -e "$RUNS/$1/result" ] || return 0 # the change was not made
    armed "$1" || die "the change was taken back already" $CLOSED
    exec 9>"$ARMED.mutex" && flock 9
    armed "$1" || die "the change was taken back already" $CLOSED
    [ -n "${NODEPROOF_OWNER:-}" ] || [ "$(field "$LOCK" pid)" != "$(connection)" ] ||
        die "only a new connection can confirm"
    at_work 30 || die "a change is still being made"
    # One file for all, so that a power cut leaves all confirmed or none.
    _steps "$1" | tail -n 1 | sed 's,.*/,,' | put "$RUNS/$1/confirmed" || die "the journal cannot be written"
    note "$1" confirmed
    disarm
}

expire() { # expire RUN WHY: take back the steps since the last confirmation, and end the run
    local code=0 step steps
    armed "$1" || return 0
    exec 9>"$ARMED.mutex" && flock 9
    armed "$1" || { exec 9>&-; return 0; }
    at_work 30 || : # let a change that is under way end, but not for ever
    steps=$(_unconfirmed "$1")
    if [ -n "$steps" ] || [ -e "$RUNS/$1/expired" ]; then # or this was interrupted
        note "$1" "expired $2"
        : >"$RUNS/$1/expired"
        REVERTING=$1 LATER=$RUNS/$1/later
        for step in $steps; do undo "$1" "$step" || code=1; done
        tell_later || code=1
        [ -e "$RUNS/$1/result" ] || end "$1" "$([ $code = 0 ] || echo not-)taken-back"
    fi
    disarm
    at_rest
    flock -u 9
    exec 9>&-
    return $code
}

_unconfirmed() { # _unconfirmed RUN: print the guarded steps since the last confirmation, last first
    local step last
    last=$(cat "$RUNS/$1/confirmed" 2>/dev/null)
    _steps "$1" | sort -r | while read -r step; do
        [ "${step##*/}" \> "$last" ] || break
        [ -e "$step/undone" ] || [ "$(sed -n 3p "$step/change")" = 0 ] || printf '%s\n' "$step"
    done
}
