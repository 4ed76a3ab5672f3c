#!/bin/sh
# fmt.sh: brings every C file of ours into shape (.clang-format).
set -eu
. "$(dirname "$0")/lib.sh"
sh tools/deps.sh fmt
for dir in src fuzz bench; do
    [ ! -d "$dir" ] || find "$dir" -name '*.[ch]' -print0 | xargs -0 -r clang-format -i
done
