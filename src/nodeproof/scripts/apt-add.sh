# shellcheck shell=dash
# apt-add NEW-KEYRING KEYRING NEW-SOURCES SOURCES NEW-PREFERENCES PREFERENCES LOCK-SECONDS SECONDS
#         [OTHER...]: make apt use a repository. Its lists are fetched while the new files still
# wait for their names. Files that apt cannot read with all others are taken away again.
set -u
umask 022
folder=$(mktemp -d /run/nodeproof-repository.XXXXXX) || exit
trap 'rm -rf -- "$folder"' EXIT
chmod 755 "$folder"

cp -- "$1" "$folder/key.asc" || exit
sed "s|^Signed-By: .*|Signed-By: $folder/key.asc|" "$3" >"$folder/new.sources" || exit
chmod 644 "$folder/key.asc" "$folder/new.sources"
wait=$7
until apt-get -q update --error-on=any -o Dir::Etc::sourcelist="$folder/new.sources" \
    -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 -o Acquire::Retries=1 \
    -o "Acquire::http::Timeout=$8" -o "Acquire::https::Timeout=$8" >"$folder/said" 2>&1; do
    if ! grep -q 'Could not get lock' "$folder/said" || [ "$wait" -le 0 ]; then
        grep -v '^\(Get\|Hit\|Ign\|Fetched\|Reading\)' "$folder/said" >&2
        exit 1
    fi
    sleep 2
    wait=$((wait - 2))
done

new_keyring=$1 keyring=$2 new_sources=$3 sources=$4 new_preferences=$5 preferences=$6
shift 8
others=$#
set -- "$@" "$sources" "$keyring" "$preferences"
mkdir "$folder/was"
for path in "$@"; do
    [ -e "$path" ] || continue
    mkdir -p -- "$folder/was${path%/*}" && cp -a -- "$path" "$folder/was$path" || exit
done

back() {
    for path in "$@"; do
        rm -f -- "$path"
        [ ! -e "$folder/was$path" ] || cp -a -- "$folder/was$path" "$path"
    done
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

if without $others "$@" && take "$new_preferences" "$preferences" &&
    take "$new_keyring" "$keyring" && take "$new_sources" "$sources" &&
    apt-get indextargets >/dev/null 2>"$folder/said"; then
    rm -f -- "$new_keyring" "$new_sources" "$new_preferences"
else
    cat "$folder/said" >&2
    back "$@"
    exit 1
fi
