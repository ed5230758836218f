# shellcheck shell=dash
# jetson-power-mode ID UNIT NOTE REASON: set a Jetson's power mode. UNIT holds clocks up; where only a
# boot brings the mode, REASON is written to NOTE.
#
# nvpmodel asks before it reboots, and all but yes leaves the mode as it was. At a boot it sets the
# mode that its status says.
set -u
status=/var/lib/nvpmodel/status
again=
if systemctl is-active --quiet -- "$2"; then # clocks that are held are another mode's
    systemctl stop -- "$2" || exit
    again=yes
fi
said=$(printf 'no\n' | LC_ALL=C timeout -k 5 60 nvpmodel -m "$1" 2>&1)
code=$?
case $said in
    *'Reboot required'*)
        mode=pmode:$(printf %04d "$1")
        now=$(cat -- "$status" 2>/dev/null)
        case $now in
            *pmode:[0-9]*) now=$(printf %s "$now" | sed "s/pmode:[0-9]*/$mode/") ;;
            *) now=$mode ;;
        esac
        mkdir -p -- "${status%/*}" "${3%/*}" && printf %s "$now" >"$status.new" &&
            mv -f -- "$status.new" "$status" && printf '%s\n' "$4" >"$3"
        code=$?
        ;;
    *'NVPM ERROR'*) code=1 ;;
    *) [ "$code" -ne 0 ] || rm -f -- "$3" ;;
esac
[ -z "$again" ] || systemctl start -- "$2" || code=1
[ "$code" -eq 0 ] || printf '%s\n' "$said" >&2
exit "$code"
