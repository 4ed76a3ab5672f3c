# Shared by the scripts in tools/. Source it first; it sets ROOT and moves there.
# shellcheck shell=sh

# shellcheck disable=SC2034
ROOT=${ROOT:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$ROOT" || exit 1
CACHE=${DROVER_CACHE:-$ROOT/build/cache} # downloads; survives `./dev clean`

say() { printf '== %s\n' "$*"; }
die() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# A field of os-release, for example: os_release ID
os_release() { sed -n "s/^$1=//p" /etc/os-release 2>/dev/null | tr -d '"'; }

# Runs a command as root: as it is when we are root, else through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "root is needed for: $* (and there is no sudo)"
    fi
}

# Prints those of the named Debian packages that are not installed.
apt_missing() {
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
        awk -v want="$*" '$2 == "installed" { have[$1] = 1 }
            END { n = split(want, p, " "); for (i = 1; i <= n; i++) if (!(p[i] in have)) print p[i] }' | xargs
}

# apt_install WHY PACKAGE...: installs what is missing, after saying so. Nothing missing: no output, a few ms.
apt_install() {
    why=$1
    shift
    missing=$(apt_missing "$@")
    [ -n "$missing" ] || return 0
    say "installing for $why with apt-get: $missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update ||
        say "apt-get update failed; trying with the package lists there are"
    # shellcheck disable=SC2086 # a list of package names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing </dev/null \
        >"$ROOT/build/apt.log" 2>&1 || {
        tail -n 30 "$ROOT/build/apt.log" >&2
        die "apt-get could not install: $missing"
    }
}

# The Debian archive this machine is set up with (its first http or file source that is neither security nor updates).
debian_mirror() {
    [ -z "${DROVER_DEBIAN_MIRROR:-}" ] || {
        echo "$DROVER_DEBIAN_MIRROR"
        return
    }
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        awk '$1 == "deb" { sub(/\[[^]]*\]/, ""); if ($3 !~ /[-\/]/ && $2 ~ /^(https?|file):/) { print $2; exit } }' |
        grep . && return
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -f "$f" ] || continue
        awk -v RS='' -v FS='\n' '{
            type = uri = suite = ""; on = 1
            for (i = 1; i <= NF; i++) {
                n = split($i, w, /[ \t]+/); key = tolower(w[1])
                if (key == "enabled:" && tolower(w[2]) == "no") on = 0
                if (key == "types:") type = $i
                if (key == "uris:" && n > 1) uri = w[2]
                if (key == "suites:" && n > 1) suite = w[2]
            }
            if (on && type ~ /deb([ \t]|$)/ && uri ~ /^(https?|file):/ && uri !~ /security/ && suite ~ /^[a-z]+$/) {
                print uri; exit
            }
        }' "$f"
    done | head -n 1 | grep .
}

# private_apt SUITE STATUS: prepares an apt of our own for SUITE under build/, so that the machine's sources, lists and
# package database stay as they are. STATUS is the dpkg status file that tells what counts as installed
# (/dev/null: nothing). Afterwards `papt ...` is apt-get with it. Needs no root.
private_apt() {
    [ "$(os_release ID)" = debian ] || die "packages of another Debian suite can only be unpacked on Debian"
    mirror=$(debian_mirror) || die "found no Debian mirror in /etc/apt; name one in DROVER_DEBIAN_MIRROR"
    keyring=
    for k in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
        [ ! -f "$k" ] || keyring=$k
    done
    [ -n "$keyring" ] || die "the package debian-archive-keyring is missing"
    PAPT=$CACHE/apt-$1
    mkdir -p "$PAPT/lists/partial" "$PAPT/archives/partial"
    cp "$2" "$PAPT/status"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$1" "$keyring" \
        >"$PAPT/debian.sources"
    cat >"$PAPT/apt.conf" <<END
Dir::State "$PAPT";
Dir::State::Lists "$PAPT/lists";
Dir::State::status "$PAPT/status";
Dir::Cache "$PAPT";
Dir::Cache::archives "$PAPT/archives";
Dir::Etc::sourcelist "$PAPT/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "";
APT::Update::Post-Invoke-Success "";
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
END
    papt update
}
papt() {
    # The -o options come last of all, so that no file in /etc/apt/apt.conf.d can take a directory back.
    APT_CONFIG=$PAPT/apt.conf apt-get -q -o "Dir::State=$PAPT" -o "Dir::State::Lists=$PAPT/lists" \
        -o "Dir::State::status=$PAPT/status" -o "Dir::Cache=$PAPT" -o "Dir::Cache::archives=$PAPT/archives" \
        -o "Dir::Etc::sourcelist=$PAPT/debian.sources" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o APT::Sandbox::User= -o APT::Update::Post-Invoke-Success::= -o Acquire::Check-Valid-Until=false \
        "$@" </dev/null >"$PAPT/log" 2>&1 || {
        tail -n 20 "$PAPT/log" >&2
        die "apt-get $1 failed for $(sed -n 's/^Suites: //p' "$PAPT/debian.sources")"
    }
}

# unpack_closure DIR SUITE STATUS PACKAGE...: unpacks PACKAGEs, and whatever they need beyond STATUS, under DIR.
# A finished DIR is left alone.
unpack_closure() {
    dir=$1 suite=$2 status=$3
    shift 3
    [ "$(cat "$dir/.packages" 2>/dev/null)" != "$suite $*" ] || return 0
    say "unpacking from Debian $suite under ${dir#"$ROOT/"}, for this tree only: $*"
    private_apt "$suite" "$status"
    rm -f "$PAPT"/archives/*.deb
    papt install --download-only "$@"
    rm -rf "$dir"
    mkdir -p "$dir"
    for deb in "$PAPT"/archives/*.deb; do dpkg-deb -x "$deb" "$dir"; done
    rm -f "$PAPT"/archives/*.deb
    [ -e "$dir/lib" ] || [ ! -d "$dir/usr/lib" ] || ln -s usr/lib "$dir/lib"
    echo "$suite $*" >"$dir/.packages"
}
