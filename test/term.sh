#!/bin/sh
# A term of an operator, while users keep asking: a hub more, with a ramp; one that must be empty by
# Friday, with a crash in the middle; and that undone. All of it on the service of SHARDER_URL, which
# somebody starts again when it dies; service.pid says what to kill. It says on its output when users may
# come and when they may go, and reads a line when they are gone. At the end everything goes to
# OTHER_DATABASE_URL. Wants `sharder` on the PATH; stops at the first thing that is not so.
set -eu
fail() { echo "$*" >&2; exit 1; }
expect() { # WHAT IS-IT
  [ "$1" = "$2" ] || fail "expected: $1, came: $2"
}
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }
members() { sharder bucket show "$1" --json | number members; }
plan_state() { sharder plan show "$1" --json | sed -n 's/.*"state":"\([a-z]*\)".*/\1/p'; }
made() { sharder plan show "$1" --json | number made; }
wait_for_moves() { # HOW-MANY SINCE-VERSION
  sharder watch --since "$2" --json |
    awk -v n="$1" '/"action":"object move"/ && ++moves >= n { exit }'
}

awk 'BEGIN {
  print "user,hub"
  for (i = 0; i < 20000; i++) printf "user-%05d,hub-%d\n", i, i % 4
}' > users.csv
sharder import users.csv --reason 'the list of the registry' 2> /dev/null
echo 'users may come'

# A fifth hub. It gets no more than twice its fair share of the new users.
sharder kind set hub --ramp 2
sharder bucket add hub-4 --reason 'the term has begun'
awk 'BEGIN { for (i = 0; i < 1000; i++) printf "first-year-%d\n", i }' |
  sharder object assign - --json > /dev/null
hub4=$(members hub-4)
total=$(sharder kind show hub --json | number objects)
[ "$hub4" -ge 390 ] || fail "hub-4 has $hub4 only"
[ "$((5 * hub4))" -le "$((2 * (total - 20000) + 10))" ] || fail "hub-4 has $hub4 of $total already"

# One must be empty by Friday. The service dies in the middle of that, and goes on by itself.
sharder object pin user-00001 --reason 'a course runs there'
sharder bucket cordon hub-1 --reason 'is switched off on Friday'
sharder plan drain hub-1 --reason 'is switched off on Friday'
version=$(sharder kind show hub --json | number version)
sharder plan apply 1 --rate 1000 --no-wait
wait_for_moves 1000 "$version"
kill -9 "$(cat service.pid)"
before=$(made 1)
[ "$before" -lt 4000 ] || fail "too late: $before moves were made"
wait_for_moves $((before + 1)) "$version"
sharder plan pause 1
expect paused "$(plan_state 1)"
paused=$(made 1)
expect "$paused" "$(made 1)"
sharder plan resume 1 --rate 5000 | grep -q '^done: '
expect 1 "$(members hub-1)"
sharder bucket list | grep -q 'hub-1 .* draining (plan 1)'
expect "$(made 1)" "$(sharder history list --plan 1 --action 'object move' --limit 100000 --json | grep -c '"name"')"

# It is not switched off after all.
sharder plan undo 1 --rate 5000 | grep -q '^done: '
expect done "$(plan_state 2)"
expect "$(made 1)" "$(made 2)"
sharder bucket list | grep -q 'hub-1 .* cordoned'
sharder bucket uncordon hub-1

# One marries, one had two accounts.
sharder object rename user-00002 user-married --reason 'has married'
sharder object merge user-00003 user-00004 --reason 'is the same person'

# Into the other engine, when nobody asks any more.
echo 'users may go'
read -r _
sharder check
sharder export all.ndjson
(
  unset SHARDER_URL
  export DATABASE_URL="$OTHER_DATABASE_URL"
  sharder migrate
  sharder import all.ndjson --create-buckets 2> /dev/null
  sharder check
  sharder export again.ndjson
)
cmp all.ndjson again.ndjson
echo 'all is as it should be'
