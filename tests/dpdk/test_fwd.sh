#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# test_fwd.sh HF_DPDK_FWD null|ring HOLDFAST: the program as root, as a uid with
# no capability, killed, and where it has to fail.  Needs $HOLDFAST_SOCKET.
set -u

fwd=$1
ports=$2
holdfast=$3
here=$(dirname "$0")
out=$(mktemp)
err=$(mktemp)
trap 'rm -f "$out" "$err"' EXIT
faults=0
# The program looks after EAL's folder itself, and leaves none.
unset RUNTIME_DIRECTORY

fault() {
	echo "FAILED  $*"
	cat "$out" "$err"
	faults=$((faults + 1))
}

# run WANTED-EXIT-CODE COMMAND...
run() {
	want=$1
	shift
	"$@" >"$out" 2>"$err"
	got=$?
	[ $got -eq "$want" ] || fault "exit $got instead of $want: $*"
}

has() {
	grep -qF -- "$1" "$out" "$err" || fault "nothing says: $1"
}

small="--size 24M --zone 8M --mbufs 2047 --packets 200000 --ports $ports"

# Root, physical addresses: the kernel is asked about every mbuf.
run 0 "$fwd" $small --json -- --iova-mode=pa
has '"iova_mode":"pa"'
has '"objects":2047,"outside":0,"wrong":0,"broken":0,"kernel_asked":2047,"kernel_differs":0'
has '"damaged":0,"lost":0'
has '"pass":true'
[ "$(grep -o '"zones_holdfast":\[[^]]*\]' "$out" |
	grep -o '"granted":true' | wc -l)" -eq 3 ] ||
	fault "holdfast's heap did not grant all three zones"

# Nobody: holdfast's addresses all the same, and the kernel silent.
run 0 "$here/as_nobody.sh" "$fwd" $small --json
has '"objects":2047,"outside":0,"wrong":0,"broken":0,"kernel_asked":0,'
has '"pass":true'

# The text.
run 0 "$here/as_nobody.sh" "$fwd" $small
has 'uid 65534'
has '2047 of 2047 mbufs carry the physical address that holdfast gave'
has 'all as it should be'

# Killed with packets on their way: the pool has everything back.
free_bytes() {
	"$holdfast" pool --json | grep '"free_bytes"'
}
before=$(free_bytes)
"$fwd" $small --packets 1T >"$out" 2>"$err" &
pid=$!
while [ "$(free_bytes)" = "$before" ] && kill -0 $pid 2>/dev/null; do
	sleep 0.05
done
kill -KILL $pid || fault "it ended by itself"
wait $pid
tries=0
while [ "$(free_bytes)" != "$before" ]; do
	tries=$((tries + 1))
	if [ $tries -gt 200 ]; then
		fault "after a kill: $(free_bytes) instead of $before"
		break
	fi
	sleep 0.05
done

# What cannot work says so.
run 1 "$fwd" --size 1T
has 'hf_dpdk_fwd: '
run 1 "$fwd" $small --mbufs 100000
has 'no pool of 100000 mbufs'
run 1 "$fwd" $small -- --no-huge
run 1 "$fwd" --socket /nonexistent/socket
has 'cannot reach holdfastd: ENOENT'
run 2 "$fwd" --size 12Q
has 'usage: '
run 2 "$fwd" --ports left
run 2 "$fwd" --no-such-option
run 0 "$fwd" --help

for left in /tmp/hf_dpdk_fwd.*; do
	[ ! -e "$left" ] || fault "$left is left"
done

[ $faults -eq 0 ] || exit 1
echo "ok      hf_dpdk_fwd on $ports ports"
