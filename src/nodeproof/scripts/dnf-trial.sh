# shellcheck shell=dash
# dnf-trial KEYRING-TEXT REPO-TEXT ID SECONDS: fetch a repository's lists once, in places of their
# own. Signatures, hashes and addresses are so proven before anything is changed.
folder=$(mktemp -d /run/nodeproof-trial.XXXXXX) || exit
trap 'rm -rf -- "$folder"' EXIT
mkdir "$folder/repos" "$folder/cache"
printf %s "$1" >"$folder/key.asc"
printf %s "$2" | sed "s|^gpgkey=.*|gpgkey=file://$folder/key.asc|" >"$folder/repos/trial.repo"
echo "clock|$(date +%s)"
dnf -y "--setopt=reposdir=$folder/repos" "--setopt=cachedir=$folder/cache" \
    "--setopt=logdir=$folder" "--setopt=persistdir=$folder" "--setopt=timeout=$4" \
    --setopt=retries=1 "--setopt=$3.skip_if_unavailable=0" --disablerepo='*' "--enablerepo=$3" \
    makecache >"$folder/said" 2>&1 || {
    grep -i 'error\|fail\|^  - ' "$folder/said" | grep -v 'loading plugin' | sed 's/^/said|/'
    echo 'said|dnf makecache failed'
}
