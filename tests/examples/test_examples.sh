#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# test_examples.sh HOLDFAST EXAMPLES-FOLDER AS-NOBODY: the programs that ./demo runs, as a
# uid with no capability, and where they have to fail.  Needs $HOLDFAST_SOCKET
# on a pool with a run of 64 MiB; skips without.
set -u

holdfast=$1
examples=$2
as_nobody=$3
dir=$(mktemp -d)
chmod 777 "$dir"
trap 'rm -rf "$dir"' EXIT
faults=0

fault() {
	echo "FAILED  $*"
	cat "$dir/out"
	faults=$((faults + 1))
}

# run WANTED-EXIT-CODE COMMAND...
run() {
	want=$1
	shift
	"$@" >"$dir/out" 2>&1
	got=$?
	[ $got -eq "$want" ] || fault "exit $got instead of $want: $*"
}

has() {
	grep -qF -- "$1" "$dir/out" || fault "nothing says: $1"
}

largest=$("$holdfast" pool --json | grep -o '"largest_run": *[0-9]*' |
	grep -o '[0-9]*$') || exit 1
if [ "$largest" -lt 67108864 ]; then
	echo "skipped: the kernel gave the pool no run of 64 MiB, only $largest bytes"
	exit 77
fi

# contigmalloc: every promise, and one that no pool can keep.
run 0 "$as_nobody" "$examples/demo_contig" --high 0x100000000000
has 'refused, KERN_NO_SPACE: "high must be above 0x'
has '67108864 bytes: zeroed, written and read back'
run 1 "$as_nobody" "$examples/demo_contig" --high 4096
run 2 "$as_nobody" "$examples/demo_contig" --nonsense

# The proof has a line a buffer; the gate lets it go.
mkfifo "$dir/gate"
chmod 666 "$dir/gate"
"$as_nobody" "$examples/demo_contig" --high 0x100000000000 \
	--proof "$dir/proof" --gate "$dir/gate" >"$dir/out" 2>&1 &
: >"$dir/gate"
wait $! || fault "demo_contig at the gate"
[ "$(wc -l <"$dir/proof")" -eq 3 ] || fault "the proof is not three lines"

# The list: both see it, nobody sees one that is gone.
"$as_nobody" "$examples/demo_list" write list "$dir/gate" >"$dir/writer" 2>&1 &
while [ ! -s "$dir/writer" ]; do
	kill -0 $! 2>/dev/null || break
	sleep 0.05
done
run 0 "$as_nobody" "$examples/demo_list" read list
has '1000 nodes'
: >"$dir/gate"
wait $! || fault "the writer"
run 1 "$as_nobody" "$examples/demo_list" read list
has 'map attach'
run 2 "$as_nobody" "$examples/demo_list" left

run 1 "$as_nobody" "$examples/demo_hold" 1000000
has 'contigmalloc: '

[ $faults -eq 0 ] || exit 1
echo "ok      the demo's programs"
