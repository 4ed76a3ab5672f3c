#!/bin/sh
# run.sh [--quick] [--only NAME,...] [--rows TEXT] [--rounds N]: measures Drover, nginx and HAProxy side by side.
# Builds the mock runtime and the load generator, then hands over to bench/run.mjs; see there for what is measured.
# run.sh --report: writes the last result into docs/benchmarks.md.
# run.sh --records [...]: measures the record store instead; see bench/records.mjs.
# run.sh --links [ROUNDS]: what a request costs through a link to a node; see bench/links.mjs.
# run.sh --ledger [SECONDS]: whether the ledger keeps up with requests as fast as they come; see bench/ledger.mjs.
set -eu
. "$(dirname "$0")/../tools/lib.sh"
node=$(sh tools/node.sh)
[ "${1:-}" != --report ] || exec "$node" bench/report.mjs
if [ "${1:-}" = --records ]; then
    shift
    mkdir -p build/bench
    exec "$node" --disable-warning=ExperimentalWarning bench/records.mjs "$@"
fi

mkdir -p build/bench/bin
compile() { # NAME SOURCE...
    program=build/bench/bin/$1
    shift
    "${CC:-cc}" -std=gnu17 -O2 -g -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE -o "$program" "$@"
}
compile mock bench/mock.c
compile load bench/load.c bench/proc.c bench/reply.c
[ "${1:-}" != --compile ] || exit 0
if [ "${1:-}" = --links ]; then
    shift
    exec "$node" bench/links.mjs "$@"
fi
if [ "${1:-}" = --ledger ]; then
    shift
    exec "$node" bench/ledger.mjs "$@"
fi
exec "$node" bench/run.mjs "$@"
