# shellcheck shell=dash
# Since when each security update has been open: package lists do not say when one came. A line each:
#   NAME VERSION SECONDS SUITE
noted=/var/lib/nodeproof/open-updates

open_updates() { # NAME VERSION SUITE of each, of the lists that are here
    apt list --upgradable 2>/dev/null |
        sed -n 's#^\([^/ ]*\)/\([^ ]*-security[^ ]*\) \([^ ]*\) .*#\1 \3 \2#p'
}
pending() {
    local now
    now=$(date +%s)
    mkdir -p -- "${noted%/*}" && touch -- "$noted" || return 1
    # A newer fix does not make the older one any younger.
    open_updates | awk -v now="$now" -v noted="$noted" '
        BEGIN { while ((getline line <noted) > 0) { split(line, words, " "); since[words[1]] = words[3] } }
        { print $1, $2, ($1 in since && since[$1] <= now) ? since[$1] : now, $3 }' >"$noted.new" &&
        chmod 644 "$noted.new" && mv -f -- "$noted.new" "$noted"
}
