#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Inside the guest with two nodes: a daemon whose frames all lie on one of them,
# and the kernel's books of both before and after.
set -u
node() { echo /sys/devices/system/node/node$1/hugepages/hugepages-2048kB; }
books() { cat "$(node 0)/nr_hugepages" "$(node 1)/nr_hugepages" | xargs; }
echo 40 >"$(node 0)/nr_hugepages"
before=$(books)
mkdir -p /tmp/ready && mkfifo /tmp/ready/fifo
./holdfastd --backend linux --pool 80M --set-nr-hugepages --pin never \
	--socket /tmp/hf.sock --user 65534 --allow-addresses all \
	--ready-fd 3 3>/tmp/ready/fifo &
daemon=$!
head -c 1 /tmp/ready/fifo >/dev/null
./guest_operator /tmp/hf.sock
rv=$?
kill "$daemon"
wait "$daemon"
echo "books before: $before, after: $(books)"
# The kernel goes on counting the page whose memory went bad, on either node.
case "$(books)" in
"$before" | "40 1" | "41 0") ;;
*) rv=1 ;;
esac
exit $rv
