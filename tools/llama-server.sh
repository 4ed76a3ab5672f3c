#!/bin/sh
# llama-server.sh: makes build/llama-server, a real llama.cpp server for the tests, and a tiny model beside it.
#
# Debian packages llama.cpp in sid only, so the package and all it needs, libc included, are unpacked under build/sid
# and started through that tree's own dynamic loader. That needs neither root nor chroot nor a network namespace.
# LLAMA_SERVER names another llama-server to use instead.
set -eu
. "$(dirname "$0")/lib.sh"
mkdir -p build
if [ -n "${LLAMA_SERVER:-}" ]; then
    ln -sf "$LLAMA_SERVER" build/llama-server
else
    unpack_closure "$ROOT/build/sid" sid /dev/null llama.cpp-tools
    loader=$(find build/sid/usr/lib -name 'ld-linux*.so.*' -type f | head -n 1)
    [ -n "$loader" ] || die "no dynamic loader under build/sid"
    lib=$(dirname "$loader")
    # ggml looks for its CPU back ends beside the running program, and to the kernel that is the loader.
    for so in "$lib"/ggml/backends*/*.so; do ln -sf "${so#"$lib/"}" "$lib/"; done
    cat >build/llama-server.new <<END
#!/bin/sh
# Made by tools/llama-server.sh.
lib='$ROOT/$lib'
exec "\$lib/${loader##*/}" --library-path "\$lib:\$lib/llama" '$ROOT/build/sid/usr/bin/llama-server' "\$@"
END
    chmod +x build/llama-server.new
    mv build/llama-server.new build/llama-server
fi
build/llama-server --version >build/llama-server.log 2>&1 || {
    cat build/llama-server.log >&2
    die "build/llama-server does not start"
}
