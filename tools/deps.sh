#!/bin/sh
# deps.sh GROUP: installs what GROUP (build, test, bench, fuzz, lint, fmt) needs and is not there yet.
set -eu
. "$(dirname "$0")/lib.sh"

# What every build needs; yyjson and llhttp are apart because Debian 12 has them too old or not at all.
BUILD="gcc libc6-dev meson ninja-build pkg-config libuv1-dev libssl-dev libsodium-dev libyaml-dev libwslay-dev
    libsqlite3-dev libcmocka-dev zlib1g-dev git ca-certificates"
NEW="libyyjson-dev libllhttp-dev"
FEDORA="gcc meson ninja-build pkgconf-pkg-config libuv-devel openssl-devel libsodium-devel libyaml-devel wslay-devel
    sqlite-devel libcmocka-devel zlib-devel git yyjson-devel llhttp-devel nodejs npm"
ARCH="gcc meson ninja pkgconf libuv openssl libsodium libyaml wslay sqlite cmocka zlib git yyjson llhttp nodejs npm"
BREW="meson ninja pkg-config libuv openssl@3 libsodium libyaml wslay sqlite cmocka git yyjson llhttp node"

mkdir -p build

# Debian 12: unpack Debian 13's packages of the libraries this release lacks. They need only an old libc.
unpack_new() {
    dir=$ROOT/build/deps
    [ ! -f "$dir/ready" ] || [ "$(cat "$dir/ready")" != "$dir $NEW" ] || return 0
    # Here "installed" is the machine's own status, so that libc and friends are not unpacked a second time.
    # shellcheck disable=SC2086 # a list of package names
    private_apt trixie /var/lib/dpkg/status
    say "unpacking from Debian trixie under build/deps, for this tree only: $NEW (too new for this release)"
    rm -rf "$dir"
    mkdir -p "$dir/pkgconfig" "$dir/debs"
    # shellcheck disable=SC2086
    (cd "$dir/debs" && papt download $NEW libyyjson0)
    for deb in "$dir"/debs/*.deb; do dpkg-deb -x "$deb" "$dir"; done
    rm -rf "$dir/debs"
    # Where there is a static archive the linker shall take it; a shared library is found again through an rpath.
    for a in "$dir"/usr/lib/*/*.a; do
        [ ! -f "$a" ] || rm -f "${a%.a}".so*
    done
    for pc in "$dir"/usr/lib/*/pkgconfig/*.pc; do
        libdir=$(dirname "$(dirname "$pc")")
        rpath=
        ! ls "$libdir"/lib"$(sed -n 's/^Libs:.* -l\([a-z]*\).*/\1/p' "$pc")".so >/dev/null 2>&1 ||
            rpath=" -Wl,-rpath,$libdir"
        sed -e "s|^prefix=.*|prefix=$dir/usr|" -e "s|=/usr|=$dir/usr|" -e "s|^Libs:.*|&$rpath|" "$pc" \
            >"$dir/pkgconfig/${pc##*/}"
    done
    echo "$dir $NEW" >"$dir/ready"
}

# Other systems: name the packages. Nothing is installed for the user there.
# shellcheck disable=SC2086 # the lists are unquoted so that each prints on one line
name_packages() {
    missing=
    for tool in cc meson ninja pkg-config git node npm; do have "$tool" || missing="$missing $tool"; done
    if have pkg-config; then
        for lib in libuv openssl libsodium yaml-0.1 libwslay sqlite3 cmocka zlib yyjson libllhttp; do
            pkg-config --exists "$lib" || missing="$missing $lib"
        done
    fi
    [ -n "$missing" ] || return 0
    echo "dev: missing here:$missing" >&2
    echo "dev: install them and run this again:" >&2
    if have dnf; then
        echo "  dnf install" $FEDORA >&2
    elif have pacman; then
        echo "  pacman -S --needed" $ARCH >&2
    elif have brew; then
        echo "  brew install" $BREW >&2
    else
        echo "  Fedora:   dnf install" $FEDORA >&2
        echo "  Arch:     pacman -S --needed" $ARCH >&2
        echo "  Homebrew: brew install" $BREW >&2
    fi
    exit 1
}

# Takes lists of package names unquoted, on purpose.
# shellcheck disable=SC2086
deps_build() {
    # The console is built with any node that is not too old for it.
    if have apt-get && ! { have node && have npm; }; then apt_install building nodejs npm; fi
    if ! have apt-get || ! have dpkg-query; then
        name_packages
    elif [ "$(os_release ID)" = debian ] && [ "$(os_release VERSION_ID)" = 12 ]; then
        apt_install building $BUILD
        unpack_new
    else
        apt_install building $BUILD $NEW
    fi
}

# Debian's compiler-rt (sanitizers and libFuzzer) is a package of its own.
deps_clang() {
    apt_install "$1" clang libclang-rt-dev
}

# The browser of the console's tests; elsewhere, or to use another, CHROMIUM names one.
deps_test() {
    have apt-get || return 0
    browser=
    [ "$(os_release ID)" != debian ] || [ -n "${CHROMIUM:-}" ] || browser=chromium
    # shellcheck disable=SC2086 # nothing, or one name
    apt_install testing curl openssl util-linux iproute2 nftables slowhttptest python3-websockets sslscan testssl.sh $browser
}

case ${1:-build} in
build) deps_build ;;
test)
    deps_build
    deps_test
    ;;
fuzz)
    deps_build
    deps_clang fuzzing
    ;;
lint)
    deps_build
    apt_install linting clang-tidy shellcheck
    ;;
fmt) apt_install formatting clang-format ;;
bench)
    deps_build
    # Unpacked, never installed: Debian would start nginx and haproxy as services on this machine.
    unpack_closure "$ROOT/build/bench/root" "$(os_release VERSION_CODENAME)" /var/lib/dpkg/status nginx haproxy wrk
    mkdir -p build/bench/bin
    for tool in sbin/nginx sbin/haproxy bin/wrk; do
        program=$ROOT/build/bench/root/usr/$tool script=build/bench/bin/${tool##*/}
        rm -f "$script"
        if [ -x "$program" ]; then
            cat >"$script" <<END
#!/bin/sh
LD_LIBRARY_PATH=\$(echo '$ROOT'/build/bench/root/usr/lib/*-linux-gnu) exec '$program' "\$@"
END
            chmod +x "$script"
        else # installed on this machine already, so it was not unpacked
            ln -s "/usr/$tool" "$script"
        fi
    done
    ;;
*) die "no such group: $1" ;;
esac
