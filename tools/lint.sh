#!/bin/sh
# lint.sh: clang-tidy over what the release build compiles, shellcheck over the scripts.
set -eu
. "$(dirname "$0")/lib.sh"
sh tools/deps.sh lint
shellcheck -s sh -x -e SC1091 dev tools/*.sh
shellcheck .ci/run
sh tools/build.sh release
find src -name '*.c' -print0 | xargs -0 -n 8 -P 2 clang-tidy --quiet --extra-arg=-Wno-unknown-warning-option -p build/release
