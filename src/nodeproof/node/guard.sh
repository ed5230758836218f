# shellcheck shell=dash
# The guard: a change that could cut access is taken back by the node itself, unless a new
# connection confirms it in time. It outlives the controller, the connection, restarts of daemons
# (systemd keeps the timer) and of the machine (a unit at boot, before the network).

TIMER=nodeproof-guard
BOOT_UNIT=$ETC/systemd/system/nodeproof-guard-boot.service
BOOT_LINK=$ETC/systemd/system/sysinit.target.wants/nodeproof-guard-boot.service

arm() { # arm RUN SECONDS
    mkdir -p -- "${BOOT_LINK%/*}" && put "$BOOT_UNIT" <<EOF || return 1
[Unit]
Description=Take back nodeproof's unconfirmed change
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target ssh.service sshd.service apparmor.service basic.target

[Service]
Type=oneshot
TimeoutStartSec=300
ExecStart=$HOME_DIR/bin/journal expire $1 the-machine-was-restarted
EOF
    ln -sfn "$BOOT_UNIT" "$BOOT_LINK" && echo "$1" | put "$ARMED" || return 1
    note "$1" "armed $2"
    systemd-run --quiet --collect --unit="$TIMER" --on-active="$2" --timer-property=AccuracySec=1 \
        -- "$HOME_DIR/bin/journal" expire "$1" "nobody-confirmed-it-within-$2-seconds" || {
        disarm
        return 1
    }
}

disarm() {
    rm -f -- "$ARMED" "$BOOT_LINK" "$BOOT_UNIT"
    systemctl stop "$TIMER.timer" 2>/dev/null || :
}

confirm() { # confirm RUN: over a new connection, which proves that one can be made
    local step
    [ ! -e "$RUNS/$1/result" ] || die "the change was taken back already" $CLOSED
    [ -e "$ARMED" ] || return 0 # the change was not made
    [ -n "${NODEPROOF_OWNER:-}" ] || [ "$(field "$LOCK" pid)" != "$(connection)" ] || die "only a new connection can confirm"
    exec 9>"$ARMED.mutex" && flock 9
    [ ! -e "$RUNS/$1/result" ] || die "the change was taken back already" $CLOSED
    note "$1" confirmed
    for step in "$RUNS/$1"/[0-9]*/; do
        [ ! -d "$step" ] || : >"$step/confirmed"
    done
    disarm
}

expire() { # expire RUN WHY: take back the steps since the last confirmation, and end the run
    local code=0 step
    exec 9>"$ARMED.mutex" && flock 9
    [ -e "$ARMED" ] && [ "$(cat "$ARMED")" = "$1" ] || { exec 9>&-; return 0; }
    exec 8>"$LOCK.step" && flock -w 30 8 # let a change that is under way end, but not for ever
    note "$1" "expired $2"
    REVERTING=$1 LATER=$RUN_DIR/later
    : >"$LATER"
    for step in $(find "$RUNS/$1" -mindepth 1 -maxdepth 1 -name '[0-9]*' | sort -r); do
        [ ! -e "$step/confirmed" ] && [ "$(sed -n 3p "$step/change")" -gt 0 ] || continue
        undo "$1" "$step" || code=1
    done
    tell_later || code=1
    disarm
    exec 8>&- 9>&-
    [ -e "$RUNS/$1/result" ] || end "$1" "taken-back"
    return $code
}
