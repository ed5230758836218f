# shellcheck shell=dash
# with-dnf PROGRAM ARGUMENT...: run a program in the Python that dnf itself runs in.
program=$1
shift
for python in /usr/libexec/platform-python /usr/bin/python3; do
    if [ -x "$python" ] && "$python" -c 'import dnf' 2>/dev/null; then
        "$python" -c "$program" "$@"
        exit
    fi
done
echo 'dnf has no Python here that it could be asked in' >&2
exit 1
