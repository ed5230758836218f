# shellcheck shell=dash
# seal-journal HOME INTERVAL: make the keys of the journal's seal, and keep the one that proves it
# for the owner of HOME/recipient.pem alone. It goes from the one program to the other, and is
# nowhere else; where it cannot be kept, nothing is sealed.
umask 077
kept=$1/verification-key.pem
folder=/var/log/journal/$(cat /etc/machine-id)
said() { cat "$1/said" >&2; rm -f -- "$1/said"; }
if [ ! -s "$kept" ] || [ ! -e "$folder/fss" ]; then
    rm -f -- "$kept" "$folder/fss"
    echo | openssl cms -encrypt -aes256 -binary -outform PEM -out "$1/tried" -- "$1/recipient.pem" \
        2>"$1/said" || { said "$1"; rm -f -- "$1/tried"; exit 1; }
    rm -f -- "$1/tried"
    journalctl --setup-keys --interval="$2" 2>"$1/said" |
        openssl cms -encrypt -aes256 -binary -outform PEM -out "$kept.new" -- "$1/recipient.pem" \
            2>/dev/null
    if [ ! -e "$folder/fss" ] || [ ! -s "$kept.new" ]; then
        said "$1"
        rm -f -- "$folder/fss" "$kept.new"
        exit 1
    fi
    rm -f -- "$1/said"
    sync -- "$kept.new" && mv -f -- "$kept.new" "$kept" || exit 1
fi
journalctl --rotate
n=0 # journald rotates when it comes to it
until journalctl --header --file "$folder/system.journal" | grep -qi '^Compatible flags:.*SEALED'; do
    n=$((n + 1))
    [ $n -lt 20 ] || { echo "the journal is not sealed, though it has a key" >&2; exit 1; }
    sleep 0.5
done
