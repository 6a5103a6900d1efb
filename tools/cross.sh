#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# cross.sh [ARCH...]: compile arch/ and core/ for other instruction sets and run
# the core's unit tests under QEMU's user emulation.
#
# Debian packages (90 MB): gcc-aarch64-linux-gnu libc6-dev-arm64-cross
# gcc-riscv64-linux-gnu libc6-dev-riscv64-cross qemu-user.  Exit 77 without.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- aarch64 riscv64
for arch in "$@"; do
	command -v "$arch-linux-gnu-gcc" >/dev/null &&
		command -v "qemu-$arch" >/dev/null || {
		echo "skipped: no compiler or no emulator for $arch; see $0"
		exit 77
	}
	build=build-$arch
	[ -f "$build/build.ninja" ] || meson setup "$build" -Dcore_only=true \
		--cross-file "tools/cross/$arch.ini" >/dev/null
	ninja -C "$build"
	meson test -C "$build" --no-rebuild --print-errorlogs --suite unit \
		--timeout-multiplier 10
done
