#!/bin/sh
# build.sh VARIANT...: configures (once) and builds build/VARIANT. Variants: release, asan, tsan, fuzz.
set -eu
. "$(dirname "$0")/lib.sh"

# The libraries that tools/deps.sh unpacked, on systems whose own are too old.
[ ! -d build/deps/pkgconfig ] ||
    export PKG_CONFIG_PATH="$ROOT/build/deps/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"

configure() {
    dir=build/$1
    shift
    [ ! -f "$dir/build.ninja" ] || return 0
    say "configuring $dir"
    rm -rf "$dir"
    meson setup "$dir" "$@" >build/setup.log 2>&1 || {
        tail -n 30 build/setup.log >&2
        die "meson setup $dir failed"
    }
}

sh tools/web.sh
for variant in "$@"; do
    case $variant in
    release) configure release --buildtype=release ;;
    asan) configure asan --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false ;;
    tsan) configure tsan --buildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false ;;
    fuzz) CC=clang configure fuzz --buildtype=debugoptimized -Db_lundef=false -Dfuzz=true ;;
    *) die "no such variant: $variant" ;;
    esac
    say "building build/$variant"
    ninja -C "build/$variant"
done
# The program under its contract name; a hard link, so that it can be copied about like a file.
[ ! -f build/release/drover ] || ln -f build/release/drover build/drover
