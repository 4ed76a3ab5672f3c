#!/bin/sh
# clean.sh [all]: removes what builds made; with `all` also downloads, unpacked packages and npm's modules.
set -eu
. "$(dirname "$0")/lib.sh"
if [ "${1:-}" = all ]; then
    rm -rf build tests/node_modules
else
    rm -rf build/release build/asan build/tsan build/fuzz build/test build/drover build/*.log
fi
