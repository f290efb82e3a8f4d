#!/bin/sh
# What an operator does in a term, from the import to the move to another database. It works on the
# database of DATABASE_URL, or on the service of SHARDER_URL, and takes everything to OTHER_DATABASE_URL.
# Wants `sharder` on the PATH; stops at the first thing that is not so.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

expect() { # WHAT IS-IT
  [ "$1" = "$2" ] || { echo "expected: $1" >&2; echo "came:     $2" >&2; exit 1; }
}
bucket_of() { sharder object find "$1" --kind hub --json | sed -n 's/.*"bucket":"\([^"]*\)".*/\1/p'; }

# 20,000 users over 4 hubs, who have been there for two hours.
before=$(date -u -d '2 hours ago' +%Y-%m-%dT%H:%M:%SZ)
hour_ago=$(date -u -d '1 hour ago' +%Y-%m-%dT%H:%M:%SZ)
awk -v at="$before" 'BEGIN {
  print "user,hub,assigned_at"
  for (i = 0; i < 20000; i++) printf "user-%05d,hub-%d,%s\n", i, i % 4, at
}' > users.csv
expect 'imported users.csv: 20000 new, 0 moved, 0 unchanged' \
  "$(sharder import users.csv --create-buckets --reason 'the list of the registry' 2> /dev/null)"
expect 'imported users.csv: 0 new, 0 moved, 20000 unchanged' "$(sharder import users.csv)"
expect 4 "$(sharder bucket list --kind hub --json | grep -c '"members": 5000')"
sharder object list --at "$hour_ago" > an-hour-ago.txt
expect 20001 "$(wc -l < an-hour-ago.txt)"

# One marries, one had two accounts, one must not be moved by a plan, one complains.
sharder object rename user-00001 user-married --reason 'has married'
sharder object merge user-00002 user-00003 --reason 'is the same person'
sharder object pin user-00004 --reason 'a course runs there'
sharder object move user-00005 hub-3 --reason 'complains'
expect hub-1 "$(bucket_of user-married)"
expect hub-3 "$(bucket_of user-00003)"
expect hub-3 "$(bucket_of user-00005)"

# Why?
sharder object explain user-00005 | grep -q 'is in bucket hub-3, by a move of .* (complains); first'
sharder object explain user-00004 | grep -q 'by its first assignment at .* It is pinned'
sharder object explain nobody | grep -q 'has no bucket; as a new one it would go to bucket hub-1'
sharder object history user-married | grep -q 'has married'

# Nothing of that was so an hour ago.
sharder object list --at "$hour_ago" | cmp - an-hour-ago.txt
sharder object list --at "$(date -u -d '3 hours ago' +%Y-%m-%dT%H:%M:%SZ)" > earlier.txt
expect 1 "$(wc -l < earlier.txt)"

# A bucket more, and one less.
sharder bucket add hub-4 --reason 'the term has begun'
expect hub-4 "$(sharder object assign new-user --json | sed 's/.*"bucket":"\([^"]*\)".*/\1/')"
sharder bucket cordon hub-0 --reason maintenance
sharder object assign another --json | grep -q '"bucket":"hub-[^0]"'

# Into the other engine, and nothing is lost on the way.
sharder check
sharder export all.ndjson.gz
(
  unset SHARDER_URL
  export DATABASE_URL="$OTHER_DATABASE_URL"
  sharder migrate
  sharder import all.ndjson.gz --create-buckets 2> /dev/null
  sharder check
  sharder export again.ndjson.gz
)
gunzip all.ndjson.gz again.ndjson.gz
cmp all.ndjson again.ndjson
grep -q '"name":"user-00004","bucket":"hub-0",.*"pinned":true' again.ndjson
grep -q '"name":"hub-0",.*"state":"cordoned","state_reason":"maintenance"' again.ndjson
echo 'all is as it should be'
