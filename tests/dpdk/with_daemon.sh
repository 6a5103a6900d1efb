#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# with_daemon.sh HOLDFASTD POOL COMMAND [ARG...]: run COMMAND with a private
# daemon on a pool of POOL bytes of real huge pages (more options may follow in
# the same word: "256M --set-nr-hugepages"); its socket is in $HOLDFAST_SOCKET.  Exit as COMMAND does; 1 where the daemon does not start,
# or does not end as it should.
set -u

daemon=$1
pool=$2
shift 2
dir=$(mktemp -d) || exit 1
chmod 755 "$dir"
pid=
cleanup() {
	trap - EXIT INT TERM HUP
	[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'cleanup; exit 143' INT TERM HUP

mkfifo "$dir/ready" || exit 1
# EAL leaves a folder there.
mkdir -m 1777 "$dir/run" || exit 1
"$daemon" --socket "$dir/socket" --pool $pool --user daemon \
	--allow-addresses all --ready-fd 3 \
	3>"$dir/ready" 2>"$dir/log" &
pid=$!
# The daemon writes a line when it listens; its end closes the pipe as well.
read -r _ <"$dir/ready" || {
	cat "$dir/log" >&2
	exit 1
}

HOLDFAST_SOCKET="$dir/socket" RUNTIME_DIRECTORY="$dir/run" "$@"
rv=$?

kill -TERM "$pid"
wait "$pid"
ended=$?
pid=
if [ $ended -ne 0 ]; then
	echo "the daemon ended with $ended:" >&2
	cat "$dir/log" >&2
	exit 1
fi
exit $rv
