#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# setup.sh [run|check]: install the Debian 12 packages that are missing.
#
#   run    what building and ./demo need (default)
#   check  that, and what ./check needs: clang, sanitizers, AFL++, lint
#
# Safe to run again: says nothing and asks no registry when all is there.
set -euo pipefail

run=(gcc libc6-dev meson ninja-build pkg-config python3
    libevent-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
    libjson-c-dev libdpdk-dev
    util-linux procps)
check=(clang-14 clang llvm-14 libclang-rt-14-dev lld-14 clang-format-14
    clang-format afl++ universal-ctags strace
    qemu-system-x86 seabios ipxe-qemu busybox-static cpio libtcmalloc-minimal4)

want=("${run[@]}")
case ${1:-run} in
run) ;;
check) want+=("${check[@]}") ;;
*) echo "usage: $0 [run|check]" >&2; exit 2 ;;
esac

missing=()
for package in "${want[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] ||
		missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "$0: these Debian packages are missing; run this as root:" >&2
	echo "  apt-get install ${missing[*]}" >&2
	exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get -q update && apt-get -q -y --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	exit 1
fi
