# shellcheck shell=dash
# dnf-add NEW-KEYRING KEYRING NEW-REPO REPO ID SECONDS [OTHER...]: make dnf use a repository, and rpm
# trust its key. Where its lists cannot be fetched then, everything is as before.
set -u
umask 022
folder=$(mktemp -d /run/nodeproof-repository.XXXXXX) || exit
trap 'rm -rf -- "$folder"' EXIT
new_keyring=$1 keyring=$2 new_repo=$3 repo=$4 id=$5 seconds=$6
shift 6
others=$#
set -- "$@" "$repo" "$keyring"
mkdir "$folder/was"
for path in "$@"; do
    [ -e "$path" ] || continue
    mkdir -p -- "$folder/was${path%/*}" && cp -a -- "$path" "$folder/was$path" || exit
done
keys() { rpm -q gpg-pubkey --qf '%{name}-%{version}-%{release}\n' 2>/dev/null | grep '^gpg-pubkey-' | sort; }
keys >"$folder/keys"

back() {
    for path in "$@"; do
        rm -f -- "$path"
        [ ! -e "$folder/was$path" ] || cp -a -- "$folder/was$path" "$path"
    done
    keys | comm -13 "$folder/keys" - | xargs -r rpm -e --allmatches --
}
take() { # take NEW PATH: replace it in one step
    local beside
    beside=${2%/*}/.${2##*/}.nodeproof
    install -D -m 644 -- "$1" "$beside" && sync -- "$beside" && mv -fT -- "$beside" "$2"
}
without() { # without NUMBER PATH...: remove the first ones
    local number
    number=$1
    shift
    while [ "$number" -gt 0 ]; do
        rm -f -- "$1" || return 1
        shift
        number=$((number - 1))
    done
}

if without $others "$@" && take "$new_keyring" "$keyring" && take "$new_repo" "$repo" &&
    rpm --import "$keyring" >"$folder/said" 2>&1 &&
    dnf -y "--setopt=timeout=$seconds" --setopt=retries=1 "--setopt=$id.skip_if_unavailable=0" \
        --disablerepo='*' "--enablerepo=$id" makecache >"$folder/said" 2>&1; then
    rm -f -- "$new_keyring" "$new_repo"
else
    grep -i 'error\|fail\|^  - ' "$folder/said" | grep -v 'loading plugin' >&2 ||
        tail -n 5 "$folder/said" >&2
    back "$@"
    exit 1
fi
