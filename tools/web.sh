#!/bin/sh
# web.sh: builds the console (web/) into build/web, and build/web/assets.c, which puts it into the binary. Does nothing, and needs
# no node, while nothing under web/ has changed.
set -eu
. "$(dirname "$0")/lib.sh"

sum() {
    # shellcheck disable=SC2046 # no file of ours has a blank in its name
    echo "$ROOT $(cat tools/web.sh tools/embed.mjs $(find web -type f ! -path 'web/node_modules/*' ! -path 'web/test/*' | LC_ALL=C sort) | cksum)"
}

mkdir -p build/web
now=$(sum)
[ ! -f build/web/assets.c ] || [ "$(cat build/web/ready 2>/dev/null)" != "$now" ] || exit 0
{ have node && have npm; } || die "the console needs node (18 or newer) and npm to be built: sh tools/deps.sh build"
if [ "$(cat web/node_modules/.ready 2>/dev/null)" != "$(cksum <web/package-lock.json)" ]; then
    say "taking what the console is built with from npm into web/node_modules"
    npm ci --prefix web --ignore-scripts --no-audit --no-fund --loglevel=error
    cksum <web/package-lock.json >web/node_modules/.ready
fi
say "building the console"
node web/build.mjs build/web/dist
node tools/embed.mjs build/web/dist build/web/assets.c
echo "$now" >build/web/ready
