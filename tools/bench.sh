#!/bin/sh
# bench.sh ARG...: fetches the proxies to compare with, builds, and hands over to bench/run.sh.
set -eu
. "$(dirname "$0")/lib.sh"
sh tools/deps.sh bench
sh tools/build.sh release
[ -f bench/run.sh ] || die "bench/run.sh is missing"
PATH=$ROOT/build/bench/bin:$PATH
export PATH
exec sh bench/run.sh "$@"
