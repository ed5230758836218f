# shellcheck shell=dash
# apt-transaction look|make ALLOW-DOWNGRADE HOLD LOCK-SECONDS WORD...: install packages at exact
# versions, in one transaction. A WORD is NAME=VERSION, or NAME- for one that must go; ALLOW-DOWNGRADE
# and HOLD are yes or no.
#
# `look` prints what apt would do, a line each; `make` does it, and where apt would remove what is
# not named, or the versions are not what was asked for afterwards, says the same and fails.
#
# apt takes of the packages that these need the newest, not the one that fits. So whatever they need
# in exactly one version, or in at least their own, is asked for in that version, too.
set -uf
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
mode=$1 downgrade=$2 hold=$3 lock=$4 note=/var/lib/nodeproof/apt-unfinished # for apt-mend
shift 4
folder=$(mktemp -d /run/nodeproof-transaction.XXXXXX) || exit
trap 'rm -rf -- "$folder"' EXIT

fitting() { # fitting NAME=VERSION...: what these need in one version only
    apt-cache show -- "$@" 2>/dev/null | awk '
        /^Version: / { own = $2 }
        /^(Pre-)?Depends: / { needs = needs ", " substr($0, index($0, ": ") + 2) }
        /^$/ { print own "\t" needs; needs = "" }
        END { if (needs != "") print own "\t" needs }
    ' | awk -F '\t' '{
        count = split($2, relations, /, */)
        for (i = 1; i <= count; i++) {
            if (relations[i] ~ /\|/ || relations[i] !~ /\((=|>=) [^)]*\)/) continue
            split(relations[i], words, /[ ():]+/)
            version = relations[i]; sub(/.*\(>?= */, "", version); sub(/ *\).*/, "", version)
            if (relations[i] ~ /\(= / || version == $1) print words[1] "=" version
        }
    }' | sort -u
}
offered() { # of NAME=VERSION on standard input, what a repository has
    sort -u >"$folder/asked"
    sed 's/=.*//' "$folder/asked" | sort -u | xargs -r apt-cache madison -- 2>/dev/null |
        tr -d ' ' | awk -F '|' '{ print $1 "=" $2 }' | sort -u | comm -12 "$folder/asked" -
}
closure() { # closure WORD...: these, and what fits them
    local level
    printf '%s\n' "$@" | grep -F '=' | sort -u >"$folder/all"
    level=$(cat "$folder/all")
    while [ -n "$level" ]; do
        # shellcheck disable=SC2086 # a list of names
        fitting $level | offered >"$folder/more"
        # What is named already keeps its version.
        level=$(awk -F = 'NR == FNR { named[$1]; next } !($1 in named)' "$folder/all" "$folder/more")
        [ -z "$level" ] || printf '%s\n' "$level" >>"$folder/all"
    done
    cat "$folder/all"
}

report() { # what the simulation says, and what explains it
    local action name old new
    sed 's/^/wants|/' "$folder/all"
    # Inst NAME [OLD] (NEW ORIGIN... or Remv NAME [OLD]
    sed -n 's/^\(Inst\|Remv\) \([^ ]*\) \[\([^]]*\)\] (\([^ ]*\) .*/\1|\2|\3|\4/p
        t
        s/^Inst \([^ ]*\) (\([^ ]*\) .*/Inst|\1||\2/p
        s/^Remv \([^ ]*\) \[\([^]]*\)\].*/Remv|\1|\2|/p' "$folder/said" | sort -u >"$folder/acts"
    awk -F '|' '$3 != "" { print $2 "=" $3 }' "$folder/acts" | offered >"$folder/had"
    while IFS='|' read -r action name old new; do
        printf '%s|%s|%s|%s|' "$action" "$name" "$old" "$new"
        [ -z "$old" ] || [ -z "$new" ] || ! dpkg --compare-versions "$new" lt "$old" || printf older
        [ -z "$old" ] || grep -qxF -- "$name=$old" "$folder/had" || printf ' lost'
        echo
        case $action in
            Remv) dpkg-query -W -f "needs|$name|\${Pre-Depends}, \${Depends}\\n" -- "$name" ;;
            Inst) apt-cache show -- "$name=$new" 2>/dev/null |
                sed -n "s/^\(Conflicts\|Breaks\): /against|$name|/p" ;;
        esac
    done <"$folder/acts"
    {
        sed -n 's/=.*//p' "$folder/all" | sort -u | xargs -r apt-cache madison -- 2>/dev/null |
            tr -d ' '
        # shellcheck disable=SC2016 # dpkg's own variables
        dpkg-query -W -f '${db:Status-Status}|${Package}|${Version}\n' | sed -n 's/^installed|//p' |
            awk -F '[=|]' 'NR == FNR { named[$1]; next } $1 in named' "$folder/all" -
    } | awk -F '|' '!seen[$1 $2]++ { print "offers|" $1 "|" $2 }'
    grep -v '^\(Inst\|Conf\|Remv\|Reading\|Building\|NOTE\|Use\)' "$folder/said" | sed 's/^/said|/'
}

simulated() { # simulated WORD...
    apt-get -s -q --no-install-recommends --allow-downgrades --allow-change-held-packages \
        install -- "$@" >"$folder/said" 2>&1
}

printf '%s\n' "$@" | sed -n 's/=.*//p' | sort -u >"$folder/named"
printf '%s\n' "$@" | sed -n '/=/d; s/-$//p' | sort -u >"$folder/gone"
# shellcheck disable=SC2046 # lists of names
set -- $(closure "$@") $(sed 's/$/-/' "$folder/gone")
simulated "$@"
code=$?
if [ "$mode" = look ]; then
    report
    echo "code|$code"
    exit 0
fi

if [ $code != 0 ] || sed -n 's/^Remv \([^ :]*\).*/\1/p' "$folder/said" | sort -u |
    comm -23 - "$folder/gone" | grep -q .; then
    { report; echo "code|$code"; } >&2
    exit 1
fi
apt-mark showmanual | sort >"$folder/manual"
apt-mark showhold >"$folder/held" # an exchange takes it away
set -- --allow-change-held-packages -- "$@"
[ "$downgrade" != yes ] || set -- --allow-downgrades "$@"
install -d -m 700 /run/nodeproof
printf '%s\n' "$@" >"$note.new" && sync -- "$note.new" && mv -f -- "$note.new" "$note" || exit
# The update guard names what was there; what comes was chosen together, and is guarded afterwards.
apt-get -y -q --no-install-recommends -o "DPkg::Lock::Timeout=$lock" \
    -o Nodeproof::UpdateGuard=off -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    install "$@" >/run/nodeproof/packages.log 2>&1 || {
    [ -n "$(dpkg --audit)" ] || rm -f -- "$note"
    tail -n 20 /run/nodeproof/packages.log | sed 's/^/said|/' >&2
    echo 'code|1' >&2
    exit 1
}
rm -f -- "$note"
# What only fits what was asked for is still nobody's wish.
sed 's/=.*//' "$folder/all" | sort -u | comm -23 - "$folder/named" | comm -23 - "$folder/manual" |
    xargs -r apt-mark -qq auto >/dev/null
# shellcheck disable=SC2016 # dpkg's own variables
dpkg-query -W -f '${db:Status-Status}|${Package}=${Version}\n' | sed -n 's/^installed|//p' |
    sort >"$folder/is"
sort "$folder/all" | comm -23 - "$folder/is" | sed 's/^/wrong|/' >"$folder/wrong"
[ ! -s "$folder/wrong" ] || {
    cat "$folder/wrong" >&2
    exit 1
}
{
    [ "$hold" != yes ] || sed 's/=.*//' "$folder/all"
    sed 's/=.*//' "$folder/is" | sort | comm -12 - "$folder/held"
} | xargs -r apt-mark -qq hold -- >/dev/null
