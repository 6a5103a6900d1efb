#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Inside the guest: a daemon on every huge page there is, then the DMA test.
# The kernel hands out high frames first, so low ones need a large pool.
set -u
echo 120 >/proc/sys/vm/nr_hugepages
mkdir -p /tmp/ready && mkfifo /tmp/ready/fifo
./holdfastd --backend linux --pool 200M --socket /tmp/hf.sock \
	--user 65534 --allow-addresses all --ready-fd 3 3>/tmp/ready/fifo &
daemon=$!
head -c 1 /tmp/ready/fifo >/dev/null
./guest_edu /tmp/hf.sock
rv=$?
kill "$daemon"
wait "$daemon"
exit $rv
