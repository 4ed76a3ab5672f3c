#!/bin/sh
# callgrind.sh [TOP]: instructions that Drover spends on one request and on one frame of a stream, counted by valgrind, so
# that two runs (or two commits) can be compared to the percent, and the functions they go to (the first TOP, 25).
# A fixed number of requests is sent one at a time after a warm-up whose costs are set to zero. Counted is user space
# only (the kernel's part, most of the time, is what bench/run.sh sees), and a long memset or memcpy may count once for
# each byte, which in truth is cheap. Takes a minute. For lines beside functions give a build with -g in DROVER_BIN.
set -eu
. "$(dirname "$0")/../tools/lib.sh"
top=${1:-25}
for tool in valgrind callgrind_control callgrind_annotate; do
    have "$tool" || die "$tool is missing; install valgrind"
done
drover=${DROVER_BIN:-build/drover}
[ -x "$drover" ] || die "$drover is missing; run ./dev build"
sh bench/run.sh --compile
bin=build/bench/bin out=$ROOT/build/bench/callgrind
rm -rf "$out"
mkdir -p "$out/data" "$out/run"
chmod 700 "$out/data" "$out/run"

mock_pid='' drover_pid=''
cleanup() {
    for pid in $mock_pid $drover_pid; do kill "$pid" 2>/dev/null || true; done
    wait
}
trap cleanup EXIT
trap 'exit 1' INT TERM

$bin/mock >"$out/mock.port" &
mock_pid=$!
sleep 0.3
upstream=$(cat "$out/mock.port")
node=$(sh tools/node.sh)
port=$("$node" -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
cat >"$out/drover.yaml" <<END
data_dir: $out/data
run_dir: $out/run
listen: [{address: "127.0.0.1:$port", auth: none}]
workers: 1
discovery: {local: false, containers: false}
endpoints: [{name: mock, url: "http://127.0.0.1:$upstream", kind: openai}]
limits: {conn: {requests_per_connection: 1000000}}
log: {level: warn}
END
chmod 600 "$out/drover.yaml"
valgrind --tool=callgrind --callgrind-out-file="$out/profile" --separate-threads=no --vgdb-prefix="$out/vgdb" \
    "$drover" serve --config "$out/drover.yaml" >"$out/log" 2>&1 &
drover_pid=$!

load() { $bin/load -p "$port" "$@"; }
# Waits for the model to be found.
tries=0
until load -n 1 2>/dev/null | grep -q '"requests":1,'; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || die "Drover gives no answer; see build/bench/callgrind/log"
    sleep 0.2
done

# measure NAME UNITS WHAT LOAD_ARG...: warms up, zeroes, runs, dumps; prints instructions per unit and the top functions.
dumps=0
measure() {
    name=$1 units=$2 what=$3
    shift 3
    load "$@" -n 20 >/dev/null
    callgrind_control --vgdb-prefix="$out/vgdb" -z "$drover_pid" >/dev/null
    load "$@" >"$out/$name.json"
    callgrind_control --vgdb-prefix="$out/vgdb" -d "$drover_pid" >/dev/null
    dumps=$((dumps + 1))
    grep -q '"faults":0,' "$out/$name.json" || die "$name: $(cat "$out/$name.json")"
    mv "$out/profile.$dumps" "$out/$name.callgrind"
    total=$(sed -n 's/^\(totals\|summary\): //p' "$out/$name.callgrind" | tail -n 1)
    printf '\n== %s: %s instructions in user space (%s in all)\n' "$what" "$((total / units))" "$total"
    for how in no yes; do
        [ "$how" = no ] && echo "-- by function itself" || echo "-- with what it calls"
        callgrind_annotate --inclusive=$how --auto=no --threshold=100 "$out/$name.callgrind" 2>/dev/null |
            sed -n '/file:function/,$p' | grep -E '^ *[0-9,]+ ' | sed -e "s|$ROOT/||" -e 's|[a-z./]*/\.\./\.\./||' |
            awk -v n="$units" -v total="$total" -v how="$how" '{
                c = $1; gsub(",", "", c); c += 0; sub(/^ *[0-9,]+ +\([^)]*\) +/, ""); sub(/ \[.*/, "")
                # What was on the stack while the costs were set to zero is charged with everything since.
                if (how == "yes" || c < 0.95 * total) printf "%9.1f  %s\n", c / n, $0 }' | head -n "$top"
    done
}

measure request-1k 2000 "a request of 1 KiB" -n 2000
measure request-256k 200 "a request of 256 KiB, model member last" -n 200 -b 262144 -m last
measure frames 5000 "a frame of a paced stream" -n 20 -s 248 -r 200
