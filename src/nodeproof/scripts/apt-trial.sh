# shellcheck shell=dash
# apt-trial KEYRING-TEXT SOURCES-TEXT SECONDS: fetch a repository's lists once, in places of their
# own. Signatures, hashes, dates and addresses are so proven before anything is changed.
folder=$(mktemp -d /run/nodeproof-trial.XXXXXX) || exit
trap 'rm -rf -- "$folder"' EXIT
chmod 755 "$folder"
mkdir "$folder/lists" "$folder/cache"
printf %s "$1" >"$folder/key.asc"
printf %s "$2" | sed "s|^Signed-By: .*|Signed-By: $folder/key.asc|" >"$folder/trial.sources"
chmod 644 "$folder/key.asc" "$folder/trial.sources"
echo "clock|$(date +%s)"
# A machine's own hooks, which note that its lists are new, have nothing to do with it.
printf '#clear APT::Update;\n' >"$folder/trial.conf"
apt-get -q -c "$folder/trial.conf" update --error-on=any -o Dir::Etc::sourcelist="$folder/trial.sources" \
    -o Dir::Etc::sourceparts=- -o Dir::State::lists="$folder/lists" \
    -o Dir::Cache="$folder/cache" \
    -o Acquire::Retries=1 -o "Acquire::http::Timeout=$3" -o "Acquire::https::Timeout=$3" \
    >"$folder/said" 2>&1 || {
    grep -v '^\(Get\|Hit\|Ign\|Fetched\|Reading\)' "$folder/said" | sed 's/^/said|/'
    echo 'said|apt-get update failed'
}
