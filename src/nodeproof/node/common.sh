# shellcheck shell=dash
# Where things are, how they are written so that a power cut cannot lose them, and who is at work.
set -u
umask 077
export LC_ALL=C
HOME_DIR=${NODEPROOF_HOME:-/var/lib/nodeproof}
RUN_DIR=${NODEPROOF_RUN:-/run/nodeproof}
RUNS=$HOME_DIR/runs
ETC=${NODEPROOF_ETC:-/etc} # elsewhere only in tests
ARMED=$HOME_DIR/armed
LOCK=$RUN_DIR/owner
TAB='	'
NL='
'

# Exit codes that the controller knows.
BUSY=75
CLOSED=77

die() { # die MESSAGE [CODE]
    printf '%s\n' "journal: $1" >&2
    exit "${2:-1}"
}

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

stored() { # stored FOLDER: all that is in it survives a power cut
    local path
    for path in "$1"/*; do
        if [ -L "$path" ] || [ -d "$path" ]; then # rare; all steps have this to do twice
            find "$1" -depth \( -type f -o -type d \) -exec sync -- {} +
            return
        fi
    done
    sync -- "$1"/* "$1"
}

put() { # put FILE: replace it with standard input, in one step, durably
    { cat >"$1.new" && sync -- "$1.new" && mv -f -- "$1.new" "$1" && sync -- "${1%/*}/"; } ||
        { rm -f -- "$1.new" && return 1; }
}

note() { # note RUN WORD...: append one line to a run's log, durably
    local run=$1
    shift
    printf '%s %s\n' "$(now)" "$*" >>"$RUNS/$run/log" && sync -- "$RUNS/$run/log"
}

named() { # named RUN: whether it is a name that cannot leave the folder of runs
    case $1 in '' | *[!0-9A-Za-z-]*) return 1 ;; esac
}

is_run() { named "$1" && [ -d "$RUNS/$1" ] && [ ! -L "$RUNS/$1" ]; }

field() { # field FILE KEY: the value of a `key=value` line
    local line
    while IFS= read -r line; do
        case $line in "$2="*) printf '%s\n' "${line#*=}" && return ;; esac
    done 2>/dev/null <"$1"
}

limit() { # limit NAME DEFAULT: what the file of limits says, where it says a number
    local value=''
    [ ! -e "$HOME_DIR/limits" ] || value=$(field "$HOME_DIR/limits" "$1")
    case $value in '' | *[!0-9]*) printf '%s\n' "$2" ;; *) printf '%s\n' "$value" ;; esac
}

# --- who is at work -------------------------------------------------------------------------
# A run belongs to the connection that opened it: the sshd process above us, which is the same for
# all commands of a connection and ends with it. On this machine itself it is the controller.

line() { # line FILE: its first line as $LINE, empty where there is none
    IFS= read -r LINE 2>/dev/null <"$1" || LINE=''
}

started() { # started PID: when the process was started, in ticks since boot; empty when it is gone
    line "/proc/$1/stat"
    # shellcheck disable=SC2086 # numbers
    set -- ${LINE##*) }
    [ $# -lt 20 ] || { shift 19 && printf '%s\n' "$1"; }
}

connection() { # print the pid of the connection that we serve
    local pid=$$
    [ -z "${NODEPROOF_OWNER:-}" ] || { echo "$NODEPROOF_OWNER"; return; }
    while [ "$pid" -gt 1 ]; do
        line "/proc/$pid/comm"
        case $LINE in sshd*) echo "$pid"; return ;; esac
        line "/proc/$pid/stat"
        LINE=${LINE##*) } LINE=${LINE#* } pid=${LINE%% *}
        [ -n "$pid" ] || break
    done
    echo "$PPID"
}

owner_alive() { # whether the owner named in the lock file still lives
    local pid since
    pid=$(field "$LOCK" pid) since=$(field "$LOCK" started)
    [ -n "$pid" ] && [ -n "$since" ] && [ "$(started "$pid")" = "$since" ] &&
        line /proc/sys/kernel/random/boot_id && [ "$(field "$LOCK" boot)" = "$LINE" ]
}

# owner [SECONDS]: print the run that holds the lock, if its owner is alive or a change of it still
# runs, and does not end within these seconds.
owner() {
    [ -e "$LOCK" ] || return 0
    if owner_alive || ! flock -w "${1:-0}" "$LOCK.step" true; then field "$LOCK" run; fi
}

own() { # own RUN: take the lock; fails when another run has it
    local other pid code
    mkdir -p -- "$RUN_DIR" || return 1
    exec 7>"$LOCK.mutex"
    flock -w 10 7 || return 1
    other=$(owner 5) # a step's last part needs no connection
    if [ -n "$other" ] && [ "$other" != "$1" ]; then
        exec 7>&-
        return 1
    fi
    pid=$(connection)
    printf 'run=%s\npid=%s\nstarted=%s\nboot=%s\n' "$1" "$pid" "$(started "$pid")" \
        "$(cat /proc/sys/kernel/random/boot_id)" >"$LOCK.new" && mv -f -- "$LOCK.new" "$LOCK"
    code=$?
    exec 7>&-
    return $code
}

leave() { # leave RUN: give the lock up, where this run has it
    exec 7>"$LOCK.mutex"
    if flock -w 10 7 && owned "$1"; then rm -f -- "$LOCK"; fi
    exec 7>&-
}

owned() { # owned RUN: whether this run has the lock
    [ "$(field "$LOCK" run)" = "$1" ]
}

# One thing is changed at a time. What a change starts inherits this lock, so that the change still
# counts as being made when the program was killed and its command goes on.
at_work() { # at_work [SECONDS]: wait for the lock; fails where it is not to be had in time
    [ -d "$RUN_DIR" ] || mkdir -p -- "$RUN_DIR" || return 1
    exec 8>"$LOCK.step"
    flock ${1:+-w "$1"} 8
}

at_rest() { # also where a daemon that the change started still has it open
    flock -u 8
    exec 8>&-
}
