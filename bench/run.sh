#!/bin/sh
# run.sh [--quick] [--only NAME,...] [--rows TEXT] [--rounds N]: measures Drover, nginx and HAProxy side by side.
# Builds the mock runtime and the load generator, then hands over to bench/run.mjs; see there for what is measured.
# run.sh --report: writes the last result into docs/benchmarks.md.
set -eu
. "$(dirname "$0")/../tools/lib.sh"
node=$(sh tools/node.sh)
[ "${1:-}" != --report ] || exec "$node" bench/report.mjs

mkdir -p build/bench/bin
compile() { # NAME SOURCE...
    program=build/bench/bin/$1
    shift
    "${CC:-cc}" -std=gnu17 -O2 -g -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE -o "$program" "$@"
}
compile mock bench/mock.c
compile load bench/load.c bench/proc.c bench/reply.c
[ "${1:-}" != --compile ] || exit 0
exec "$node" bench/run.mjs "$@"
