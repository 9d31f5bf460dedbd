# shellcheck shell=bash disable=SC2034
# What the benchmarks that load a roostd share; they source it. It makes the folder $work, which goes at the end together
# with the processes in $pids, the load generator in it and a message of 8 KiB.
#
# BUILD=build/release, USERS=4000 and DIR=build, a directory on the file system to measure, may be set in the environment.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(realpath "${BUILD:-$top/build/release}")
users=${USERS:-4000}
peers=${ROOST_PEERS:-$top/build/peers}

# shellcheck source=tests/bench/place.sh
. "$top/tests/bench/place.sh"
pids=()
finish() {
  [ ${#pids[@]} -eq 0 ] || kill -CONT "${pids[@]}" 2>/dev/null || true
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

# stop PID [SIGNAL]: ends one of $pids and waits for it.
stop() {
  local pid
  kill "-${2:-TERM}" "$1"
  wait "$1" 2>/dev/null || true
  for pid in "${!pids[@]}"; do
    [ "${pids[$pid]}" != "$1" ] || unset "pids[$pid]"
  done
}

c++ -O2 -std=c++20 -o "$work/load" "$top/tests/bench/lmtp_load.cpp"

# make_message BYTES: on standard output.
make_message() {
  printf 'From: sender@example.com\nTo: user1@example.org\nSubject: benchmark\nMessage-ID: <1@example.com>\n\n'
  head -c "$(($1 - 95))" < <(yes "$(printf 'x%.0s' {1..71})")
}
make_message 8192 >"$work/message"

# wait_for SOCKET: until somebody listens there, as far as the file tells.
wait_for() {
  local i
  for ((i = 0; i < 600; i++)); do
    [ ! -S "$1" ] || return 0
    sleep 0.1
  done
  echo "nobody listens at $1" >&2
  return 1
}

# configure NAME [SETTING=VALUE...]: a Roost of its own in $work/NAME, without users.
configure() {
  local name=$1 setting key
  shift
  mkdir "$work/$name"
  cat >"$work/$name/roost.conf" <<CONF
[users]
database = sqlite:$work/$name/users.db
[store]
state = $work/$name/state
modules = $build/modules
[maildir]
path = $work/$name/mail/%{domain}/%{local}
[quota]
storage = 20G
[lmtp]
listen = unix:$work/$name.sock
user-concurrency = 64
[log]
target = $work/$name/log
CONF
  for setting in "$@"; do
    key=${setting%%=*}
    printf '[%s]\n%s = %s\n' "${key%%.*}" "${key#*.}" "${setting#*=}"
  done >>"$work/$name/roost.conf"
  roost "$name" database create
}

# add_users NAME COUNT: user1@example.org to userCOUNT@example.org, in no order, who have no mailboxes yet.
add_users() {
  sqlite3 "$work/$1/users.db" "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
    INSERT INTO users(name) SELECT 'user' || i || '@example.org' FROM n ORDER BY random()"
}

# roost NAME ARGUMENT...
roost() {
  local name=$1
  shift
  "$build/cmd/roost/roost" -c "$work/$name/roost.conf" "$@"
}

# start_roostd NAME [OPTION...]; roostd_pids[NAME] is its process.
declare -A roostd_pids
start_roostd() {
  local name=$1
  shift
  rm -f "$work/$name.sock"
  "$build/cmd/roostd/roostd" -c "$work/$name/roost.conf" "$@" &
  roostd_pids[$name]=$!
  pids+=($!)
  wait_for "$work/$name.sock"
}

# start_redis NAME [OPTION VALUE...]: at the socket $work/NAME.redis; redis_pids[NAME] is its process. Needs tests/peers
# redis. Nothing is saved unless the options say so.
declare -A redis_pids
start_redis() {
  local name=$1
  shift
  rm -f "$work/$name.redis"
  LD_LIBRARY_PATH=$peers/redis/usr/lib/x86_64-linux-gnu "$peers/redis/usr/bin/redis-server" --port 0 \
    --unixsocket "$work/$name.redis" --save '' --dir "$work" --dbfilename "$name.rdb" "$@" >/dev/null &
  redis_pids[$name]=$!
  pids+=($!)
  wait_for "$work/$name.redis"
}

# load NAME SESSIONS SECONDS [FIRST [RATE]]: what lmtp_load.cpp prints.
load() {
  local name=$1 sessions=$2 seconds=$3
  shift 3
  "$work/load" "unix:$work/$name.sock" "$sessions" "$seconds" "$work/message" "$users" "$@"
}

# give_mailboxes NAME [FIRST]: until every user has one.
give_mailboxes() {
  local next=${2:-1} more
  while [ "$next" -le "$users" ]; do
    more=$(load "$1" 8 2 "$next" | cut -d' ' -f4)
    next=$((next + more))
  done
}

# median of the numbers on standard input, one a line.
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# ratio A B [FIELD]: the median of A's figures by B's, paired by round. A and B are files with what load printed, a line
# for each round; FIELD 1 is the rate, 2 the median latency.
ratio() {
  paste -d' ' <(cut -d' ' -f"${3:-1}" "$1") <(cut -d' ' -f"${3:-1}" "$2") | awk '{ print $1 / $2 }' | median
}
