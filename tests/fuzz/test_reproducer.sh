#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A program becomes a C file that compiles with one line, stands alone beside
# the libraries of the core, and gets the same answers (exit 1: "still so").
#   test_reproducer.sh PRINT_C ROOT LIBRARY...
set -eu
print_c=$1
root=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/program.hfp" <<'END'
program preset=0
find m len=4p space=any
object o1 kind=swap size=8p
insert m obj=o1 off=1p start=min+64p len=2p
protect m start=@0.start+1p len=1p prot=r
wire m start=@0.start len=1p
fork m to=m1
stack m addr=min+128p len=64p
END
"$print_c" "$dir/program.hfp" >"$dir/repro.c"
grep -q 'vm_map_protect(m\[0\]' "$dir/repro.c"
# shellcheck disable=SC2086
cc -std=gnu17 -D_GNU_SOURCE -DVM_INVARIANTS=2 ${REPRO_CFLAGS:-} -I "$root" \
    -o "$dir/repro" "$dir/repro.c" -Wl,--start-group "$@" -Wl,--end-group \
    -lpthread
status=0
"$dir/repro" >"$dir/out" || status=$?
cat "$dir/out"
[ "$status" -eq 1 ] || { echo "exit $status, not 1" >&2; exit 1; }

# Other answers: the reproducer says that it is no longer so.
sed 's/return rv == [0-9]*/return rv == 99/' "$dir/repro.c" >"$dir/other.c"
# shellcheck disable=SC2086
cc -std=gnu17 -D_GNU_SOURCE -DVM_INVARIANTS=2 ${REPRO_CFLAGS:-} -I "$root" \
    -o "$dir/other" "$dir/other.c" -Wl,--start-group "$@" -Wl,--end-group \
    -lpthread
"$dir/other" >/dev/null
