# shellcheck shell=dash
# fetch-key ADDRESS SECONDS OCTETS: print the file at an address, unless it is larger.
# apt's own downloads run as a user of their own; so does this one, in a folder of its own.
folder=$(mktemp -d /run/nodeproof-key.XXXXXX) || exit
trap 'rm -rf -- "$folder"' EXIT
chmod 755 "$folder"
mkdir "$folder/new"
echo "clock|$(date +%s)"
if [ -x /usr/lib/apt/apt-helper ]; then
    ! id _apt >/dev/null 2>&1 || chown _apt "$folder/new"
    /usr/lib/apt/apt-helper -q -o Acquire::Retries=1 -o "Acquire::http::Timeout=$2" \
        -o "Acquire::https::Timeout=$2" download-file "$1" "$folder/new/key" >"$folder/said" 2>&1
else
    curl -fsSL --proto =http,https,file --max-time "$2" -o "$folder/new/key" -- "$1" \
        >"$folder/said" 2>&1
fi
code=$?
if [ $code != 0 ] || [ ! -f "$folder/new/key" ]; then
    grep -v '^\(Get\|Hit\|Ign\|Fetched\|Reading\)' "$folder/said" | sed 's/^/said|/'
    echo 'said|it could not be fetched'
elif [ "$(stat -c %s "$folder/new/key")" -gt "$3" ]; then
    echo "said|it is larger than $3 octets, so it is no key"
else
    printf 'content|%s\n' "$(base64 -w0 -- "$folder/new/key")"
fi
