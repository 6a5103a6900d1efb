#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# with_hugepages.sh N COMMAND [ARG...]: run COMMAND with at least N free 2 MiB
# huge pages, and put the setting back afterwards.
#
# The pages are taken out of gigantic ones where the kernel has those, because
# they are neighbours then; so there may be up to 511 more than asked for.
#
# One at a time on a host: a lock keeps others waiting.  A command that runs
# inside another one's turn (HOLDFAST_HUGEPAGES_HELD is set) takes what is
# there.  Exit 77, with the reason, where the pages are not to be had.
set -u

lock=${HOLDFAST_HUGEPAGES_LOCK:-/run/lock/holdfast-hugepages.lock}
dir=/sys/kernel/mm/hugepages/hugepages-2048kB
gigantic=/sys/kernel/mm/hugepages/hugepages-1048576kB

skip() {
	echo "skipped: $*"
	exit 77
}

[ $# -ge 2 ] || { echo "usage: $0 N COMMAND [ARG...]" >&2; exit 2; }
want=$1
shift

[ -z "${HOLDFAST_HUGEPAGES_HELD:-}" ] || exec "$@"
[ -r $dir/nr_hugepages ] || skip "this kernel has no 2 MiB huge pages"
[ -w $dir/nr_hugepages ] && [ "$(id -u)" = 0 ] ||
	skip "only root may ask the kernel for huge pages"

# Whoever leaves removes the file: wait at the one that is there.
while :; do
	exec 9>>"$lock" || skip "cannot open $lock"
	flock 9
	[ "$lock" -ef /dev/fd/9 ] && break
done
# The locks of daemons that run inside go with this folder.
HOLDFAST_LOCK_DIR=$(mktemp -d) || skip "no temporary folder"
export HOLDFAST_LOCK_DIR

was=$(cat $dir/nr_hugepages)
free=$(cat $dir/free_hugepages)
child=

# Wait a bounded while for pages that dying processes still hold.
restore() {
	trap - EXIT INT TERM HUP
	if [ -n "$child" ]; then
		kill "$child" 2>/dev/null
		wait "$child" 2>/dev/null
	fi
	echo "$was" >$dir/nr_hugepages
	i=0
	while [ "$(cat $dir/nr_hugepages)" -gt "$was" ] && [ $i -lt 50 ]; do
		i=$((i + 1))
		sleep 0.1
		echo "$was" >$dir/nr_hugepages
	done
	rm -rf "$HOLDFAST_LOCK_DIR"
	rm -f "$lock"
}
trap restore EXIT
trap 'restore; exit 130' INT
trap 'restore; exit 143' TERM HUP

# Split gigantic pages, 512 of ours each, until there are enough.
demote() {
	[ -w $gigantic/demote ] || return 0
	while [ "$(cat $dir/free_hugepages)" -lt "$want" ]; do
		had=$(cat $gigantic/nr_hugepages)
		echo $((had + 1)) >$gigantic/nr_hugepages 2>/dev/null
		[ "$(cat $gigantic/nr_hugepages)" -gt "$had" ] || return 0
		echo 2048kB >$gigantic/demote_size 2>/dev/null
		if ! echo 1 >$gigantic/demote; then
			echo "$had" >$gigantic/nr_hugepages
			return 0
		fi
	done
}

if [ "$free" -lt "$want" ]; then
	demote 2>/dev/null
fi
free=$(cat $dir/free_hugepages)
if [ "$free" -lt "$want" ]; then
	now=$(cat $dir/nr_hugepages)
	echo $((now + want - free)) >$dir/nr_hugepages
	got=$(cat $dir/free_hugepages)
	if [ "$got" -lt "$want" ]; then
		echo 3 >/proc/sys/vm/drop_caches 2>/dev/null
		echo 1 >/proc/sys/vm/compact_memory 2>/dev/null
		echo $((now + want - free)) >$dir/nr_hugepages
		got=$(cat $dir/free_hugepages)
	fi
	[ "$got" -ge "$want" ] ||
		skip "$want huge pages wanted, the kernel gave $got"
fi

HOLDFAST_HUGEPAGES_HELD=1 "$@" 9>&- &
child=$!
wait "$child"
rv=$?
child=
exit $rv
