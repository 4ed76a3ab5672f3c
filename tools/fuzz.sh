#!/bin/sh
# fuzz.sh [SECONDS] [NAME]: runs each fuzz target (or those whose name contains NAME) for SECONDS. New inputs go to
# build/fuzz-corpus; one that breaks a target is left in build/fuzz-found and belongs in fuzz/corpus/<parser>/.
set -eu
. "$(dirname "$0")/lib.sh"
seconds=${1:-60}
sh tools/deps.sh fuzz
sh tools/build.sh fuzz
mkdir -p build/fuzz-found
ran=0
for target in $(find build/fuzz -type f -perm -u+x -name "fuzz_*${2:-}*" | sort); do
    name=${target##*/fuzz_}
    seeds=fuzz/corpus/$name
    mkdir -p "build/fuzz-corpus/$name"
    [ -d "$seeds" ] || seeds=
    say "fuzzing $name for $seconds s"
    # shellcheck disable=SC2086 # no seeds, no argument
    "$target" -max_total_time="$seconds" -print_final_stats=1 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="build/fuzz-found/$name-" "build/fuzz-corpus/$name" $seeds
    ran=$((ran + 1))
done
[ "$ran" -gt 0 ] || die "no fuzz target in build/fuzz"
say "$ran targets held"
