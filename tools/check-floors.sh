#!/bin/sh
# check-floors.sh [ROOT]: arrows point down. Reads the table of rooms in docs/ARCHITECTURE.md and every #include under src/,
# and complains about each that names a room on the same or a higher floor, a room that is not in the table, or another
# room's furniture (a header that is not a door: the room's own name, any header of the toolboxes, or a door listed here).
set -eu
cd "${1:-.}"
# shellcheck disable=SC2016 # the backquotes are those of the page
floors=$(sed -n 's/^| *\([0-9]\) *| *`\([a-z]*\)\/` *|.*/\2 \1/p' docs/ARCHITECTURE.md)
[ -n "$floors" ] || {
    echo "docs/ARCHITECTURE.md has no table of rooms"
    exit 1
}
toolboxes='base io http llm telemetry app'
doors='access/people.h access/mode.h access/passphrase.h gateway/watch.h console/admin.h console/door.h console/visitor.h hub/gate.h hub/member.h hub/berth.h hub/caller.h'
for dir in src/*/; do
    room=$(basename "$dir")
    echo "$floors" | grep -q "^$room " || echo "src/$room is not in the table of rooms"
done >build-floors.$$
grep -n '^ *# *include "' src/*/*.[ch] | while IFS= read -r line; do
    file=${line%%:*} rest=${line#*:} number=${rest%%:*}
    to=$(printf '%s\n' "$line" | sed 's/.*include "\([^"]*\)".*/\1/')
    from_room=$(printf '%s\n' "$file" | cut -d/ -f2)
    to_room=${to%%/*} header=${to##*/}
    [ "$to" = version.h ] && continue
    [ "$to_room" = "$from_room" ] && continue
    a=$(echo "$floors" | sed -n "s/^$from_room //p") b=$(echo "$floors" | sed -n "s/^$to_room //p")
    if [ -z "$b" ]; then
        echo "$file:$number: \"$to\" is in no room"
    elif [ "$b" -ge "$a" ]; then
        echo "$file:$number: $from_room (floor $a) must not include $to_room (floor $b): $to"
    fi
    case " $toolboxes $doors " in
    *" $to_room "* | *" $to "*) ;;
    *)
        case $file in
        *_test.c) ;;
        *)
            [ "${header%.h}" = "$to_room" ] ||
                echo "$file:$number: $to is furniture of $to_room, not its door"
            ;;
        esac
        ;;
    esac
done >>build-floors.$$
bad=0
if [ -s build-floors.$$ ]; then
    cat build-floors.$$
    bad=1
fi
rm -f build-floors.$$
[ "$bad" = 0 ] && echo "all arrows point down"
exit "$bad"
