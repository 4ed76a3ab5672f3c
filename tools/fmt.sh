#!/bin/sh
# fmt.sh [COMMIT]: brings the C lines changed since COMMIT (default: the last one) into shape (.clang-format). Lines that were not
# touched stay as they are: tables are aligned by hand, and a tool that reflows them helps nobody.
set -eu
. "$(dirname "$0")/lib.sh"
sh tools/deps.sh fmt
git clang-format "${1:-HEAD}" --extensions c,h -- src fuzz bench
