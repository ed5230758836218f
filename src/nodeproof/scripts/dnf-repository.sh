# shellcheck shell=dash
# dnf-repository KEYRING REPO ID ADDRESS...: print what the node has of a repository.
for path in "$1" "$2"; do
    [ -f "$path" ] || continue
    printf 'file|%s|%s|%s\n' "$path" "$(stat -c %a:%u:%g -- "$path")" "$(base64 -w0 -- "$path")"
done
find /var/cache/dnf -path "/var/cache/dnf/$3-*/repodata/repomd.xml" 2>/dev/null | sed -n '1s/.*/fetched/p'
rpm -q gpg-pubkey --qf 'key|%{version}\n' 2>/dev/null | grep '^key'
own=$2
shift 3
for path in /etc/yum.repos.d/*.repo; do
    [ -f "$path" ] && [ "$path" != "$own" ] || continue
    for address in "$@"; do
        grep -v '^[[:space:]]*#' -- "$path" | grep -qF -- "$address" || continue
        printf 'other|%s\n' "$path"
        break
    done
done
