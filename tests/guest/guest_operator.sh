#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Inside the guest with two nodes: a daemon that is killed, one whose frames all
# lie on one node, and the kernel's books of both nodes before and after.
set -u
node() { echo /sys/devices/system/node/node$1/hugepages/hugepages-2048kB; }
books() { cat "$(node 0)/nr_hugepages" "$(node 1)/nr_hugepages" | xargs; }
start() {
	./holdfastd --backend linux --set-nr-hugepages --socket /tmp/hf.sock \
		--user 65534 --ready-fd 3 "$@" 3>/tmp/ready/fifo &
	daemon=$!
	head -c 1 /tmp/ready/fifo >/dev/null
}
mkdir -p /tmp/ready && mkfifo /tmp/ready/fifo

# Raised on both nodes, at the start and at run time, then killed while a client
# holds some of it: the next one finds what either node had.
echo 9 >"$(node 0)/nr_hugepages"
echo 4 >"$(node 1)/nr_hugepages"
before=$(books)
start --pool 60M --pool-max 200M
./holdfast pool grow 10 --socket /tmp/hf.sock || exit 1
raised=$(books)
./guest_operator --hold /tmp/hf.sock &
holder=$!
while ! [ -e /tmp/ready/held ]; do usleep 10000; done
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
n=0
while [ "$(books)" != "$before" ] || [ -e /tmp/hf.sock ]; do
	n=$((n + 1))
	if [ $n -gt 500 ]; then break; fi
	usleep 20000
done
rm /tmp/ready/held
wait "$holder" || exit 1
echo "killed: $before, raised to $raised, then $(books)"
[ "${raised% *}" -gt "${before% *}" ] && [ "${raised#* }" -gt "${before#* }" ] &&
	[ "$(books)" = "$before" ] && ! [ -e /tmp/hf.sock ] || exit 1

echo 40 >"$(node 0)/nr_hugepages"
echo 0 >"$(node 1)/nr_hugepages"
before=$(books)
start --pool 80M --pin never --allow-addresses all
./guest_operator /tmp/hf.sock
rv=$?
# A third one, under a buffer of the command's, which tells of it.
./holdfast alloc 6M --json --socket /tmp/hf.sock >/tmp/ready/told &
holder=$!
while ! grep -q '^}' /tmp/ready/told; do usleep 10000; done
pa=$(sed -n 's/.*"pa": \([0-9]*\).*/\1/p' /tmp/ready/told)
echo $((pa + 2097152)) >/sys/devices/system/memory/hard_offline_page
n=0
while ! grep -q '"lost"' /tmp/ready/told && [ $n -le 500 ]; do
	n=$((n + 1))
	usleep 20000
done
kill "$holder"
wait "$holder" || rv=1
sed -n '/"lost"/,$p' /tmp/ready/told | xargs | tee /tmp/ready/lost
[ "$(cat /tmp/ready/lost)" = 'lost: { offset: 2097152, size: 2097152 } }' ] &&
	./holdfast status --json --socket /tmp/hf.sock |
	grep '"frames_poisoned": 3' || rv=1
kill "$daemon"
wait "$daemon"
echo "books before: $before, after: $(books)"
# The kernel goes on counting the three pages whose memory went bad.
set -- $(books)
[ "$1" -ge 40 ] && [ $(($1 + $2)) -le 43 ] || rv=1
exit $rv
