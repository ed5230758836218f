# shellcheck shell=dash
# apt-mend LOCK-SECONDS: finish what apt or dpkg was cut off from. Where packages at exact versions
# were being installed (apt-transaction), it is just these: left alone, apt takes the newest ones.
set -uf
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
note=/var/lib/nodeproof/apt-unfinished
again() { # again WORD...
    apt-get -y -q --no-install-recommends -o "DPkg::Lock::Timeout=$lock" \
        -o Nodeproof::UpdateGuard=off -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

lock=$1
again check # waits for the lock, which dpkg itself does not
dpkg --force-confdef --force-confold --configure -a
if [ ! -s "$note" ]; then
    again -f install
    exit
fi
# What dpkg has half unpacked apt takes for installed, where its version is the one that is named.
# shellcheck disable=SC2016 # dpkg's own variables
dpkg-query -W -f '${db:Status-Abbrev}|${Package}=\n' | sed -n 's/^..R|//p' | while read -r torn; do
    ! grep -q "^$torn" "$note" || echo "${torn%=}"
done | xargs -r dpkg --remove --force-depends --force-remove-reinstreq --
# shellcheck disable=SC2046 # words
again -f install $(cat "$note") && rm -f -- "$note"
