#!/bin/sh
# test.sh [NAME]: builds every variant and runs all tests, or those whose name contains NAME. Goes on after a failure,
# and always ends with one line: N passed, N failed[, N skipped].
set -eu
. "$(dirname "$0")/lib.sh"
filter=${1:-}

# Fit for a bare container without HOME, terminal or standard input.
exec </dev/null
export HOME="${HOME:-$ROOT/build/cache/home}"
export npm_config_cache="${npm_config_cache:-$CACHE/npm}" npm_config_update_notifier=false npm_config_fund=false \
    npm_config_audit=false
mkdir -p build/test "$CACHE"
counts=$ROOT/build/test/counts # one line per step: passed failed skipped
: >"$counts"

finish() {
    awk '{ p += $1; f += $2; s += $3 }
        END {
            if (p + f == 0) f = 1
            printf "%d passed, %d failed", p, f
            if (s) printf ", %d skipped", s
            printf "\n"
            exit f > 0
        }' "$counts"
}
# An unexpected end counts as a failure, too.
on_exit() {
    [ "$1" -eq 0 ] || echo "0 1 0" >>"$counts"
    trap - EXIT
    finish
}
trap 'on_exit $?' EXIT
failed() {
    say "FAILED: $1"
    echo "0 1 0" >>"$counts"
}

export ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:strict_string_checks=1:detect_stack_use_after_return=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"
# ThreadSanitizer cannot map its shadow where the kernel randomises addresses more than it expects.
fixed=
! setarch "$(uname -m)" -R true 2>/dev/null || fixed="setarch $(uname -m) -R"

# unit VARIANT [MESON TEST ARGUMENT...]: runs the meson tests of a build and counts what each of them counted.
unit() {
    variant=$1
    shift
    log=build/$variant/meson-logs/testlog.json
    rm -f "$log"
    names=
    if [ -n "$filter" ]; then
        names=$(meson test -C "build/$variant" --no-rebuild --list "$@" 2>/dev/null | sed 's/.* \/ //; s/.* - .*://' |
            grep -F -- "$filter" || true)
        [ -n "$names" ] || return 0
    elif [ -z "$(meson test -C "build/$variant" --no-rebuild --list "$@" 2>/dev/null)" ]; then
        failed "build/$variant has no such tests: $*"
        return 0
    fi
    say "unit tests of build/$variant"
    # shellcheck disable=SC2086 # lists
    ${wrap:-} meson test -C "build/$variant" --no-rebuild --print-errorlogs "$@" $names || true
    if [ -f "$log" ]; then
        "$NODE" tools/count-tests.js "$log" >>"$counts"
    else
        failed "meson test wrote no $log"
    fi
}

# js LABEL PROGRAM FILE...: runs whole-program tests against PROGRAM.
js() {
    label=$1 program=$2
    shift 2
    files=
    for f in "$@"; do
        case ${f##*/} in *"$filter"*) files="$files $f" ;; esac
    done
    [ -n "$files" ] || return 0
    if [ ! -x "$program" ]; then
        failed "$program is missing"
        return 0
    fi
    say "whole-program tests against $label"
    tap=build/test/js-$label.tap
    # One file at a time: some tests measure how soon something happens.
    # shellcheck disable=SC2086 # a list of files
    DROVER_BIN=$ROOT/$program ${wrap:-} "$NODE" --test --test-concurrency=1 --test-timeout=300000 \
        --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=tap --test-reporter-destination="$tap" $files || true
    awk '/^# pass /{p=$3} /^# fail /{f=$3} /^# cancelled /{c=$3} /^# skipped /{s=$3} /^# todo /{t=$3}
        END { if (p == "" ) f = 1; print p + 0, f + c, s + t }' "$tap" >>"$counts"
}

sh tools/deps.sh test
NODE=$(sh tools/node.sh)
export NODE

# Installed anew only when the lock file changed.
lock=$(cksum <tests/package-lock.json)
if [ "$(cat tests/node_modules/.lock 2>/dev/null)" != "$lock" ]; then
    say "installing the vendors' SDKs for the tests (npm ci)"
    # npm itself may run on an older node than some packages ask for; the tests run on $NODE.
    (cd tests && npm ci --ignore-scripts --no-progress >"$ROOT/build/test/npm.log" 2>&1) || {
        tail -n 20 build/test/npm.log >&2
        die "npm ci failed"
    }
    echo "$lock" >tests/node_modules/.lock
fi
sh tools/llama-server.sh

for variant in release asan tsan; do
    say "building build/$variant"
    if ! sh tools/build.sh "$variant" >"build/test/build-$variant.log" 2>&1; then
        tail -n 60 "build/test/build-$variant.log"
        failed "building build/$variant"
    fi
done

[ ! -f build/asan/build.ninja ] || unit asan
wrap=$fixed
[ ! -f build/tsan/build.ninja ] || unit tsan --suite threads
wrap=

case web in *"$filter"*)
    say "unit tests of the console"
    log=build/test/web.log
    "$NODE" web/test/run.mjs >"$log" 2>&1 || tail -n 60 "$log"
    # The runner's own words, in whichever of its forms.
    awk '/^(# |. )pass /{p=$NF} /^(# |. )fail /{f=$NF} END { if (p == "") f = 1; print p + 0, f + 0, 0 }' "$log" >>"$counts"
    ;;
esac
js asan build/asan/drover tests/*.test.js
wrap=$fixed
js tsan build/tsan/drover tests/smoke.test.js tests/routing.test.js tests/passthrough.test.js tests/queue.test.js tests/people.test.js tests/live.test.js tests/member.test.js tests/link.test.js
wrap=
js release build/drover tests/smoke.test.js
