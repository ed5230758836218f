# shellcheck shell=dash
# apt-repository KEYRING SOURCES PREFERENCES ADDRESS...: print what the node has of a repository.
for path in "$1" "$2" "$3"; do
    [ -f "$path" ] || continue
    printf 'file|%s|%s|%s\n' "$path" "$(stat -c %a:%u:%g -- "$path")" "$(base64 -w0 -- "$path")"
done
# shellcheck disable=SC2016 # apt's own variables
[ ! -e "$2" ] || apt-get indextargets -o Dir::Etc::sourcelist="$2" -o Dir::Etc::sourceparts=- \
    --format '$(CREATED_BY)' 2>/dev/null | grep -qx Packages && echo fetched
own=$2
shift 3
for path in /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
    /etc/apt/sources.list.d/*.sources; do
    [ -f "$path" ] && [ "$path" != "$own" ] || continue
    for address in "$@"; do
        grep -v '^[[:space:]]*#' -- "$path" | grep -qF -- "$address" || continue
        printf 'other|%s\n' "$path"
        break
    done
done
