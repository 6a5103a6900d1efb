#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Build the targets for AFL++ from the sources that libFuzzer uses.
#
#   fuzz/build_afl.sh OUTDIR [TARGET...]
#
# For each target: TARGET.afl, TARGET.cmplog, TARGET.asan, and one mutator for
# all, mutator_afl.so.  AFL_CC chooses the compiler of TARGET.afl: Debian's
# afl-clang-lto 4.04c miscounts edges in vector code (it writes outside its
# map in core/vm_phys_tree.c), so afl-clang-fast is the default.  Run one with
#
#   HOLDFAST_FUZZ_TARGET=TARGET AFL_CUSTOM_MUTATOR_LIBRARY=OUTDIR/mutator_afl.so \
#   afl-fuzz -i SEEDS -o OUT -g 16 -G 2048 -c OUTDIR/TARGET.cmplog -- OUTDIR/TARGET.afl
set -eu

[ $# -ge 1 ] || { sed -n '3,16p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- fuzz_map fuzz_contig

export AFL_QUIET=1
flags="-g -O2 -std=gnu17 -D_GNU_SOURCE -DVM_INVARIANTS=2 -I$root -w"
common="$root/fuzz/entry.c $root/fuzz/target.c $root/fuzz/gen.c
    $root/fuzz/prog/*.c $root/core/*.c $root/arch/machine.c $root/arch/sim/*.c"
model="$root/tests/model/model_*.c"

sources() {
	case $1 in
	fuzz_map) echo "$root/fuzz/fuzz_map.c $root/fuzz/map_mirror.c" ;;
	fuzz_contig) echo "$root/fuzz/fuzz_contig.c" ;;
	*) echo "unknown target $1" >&2; exit 2 ;;
	esac
}

compiler=${AFL_CC:-afl-clang-fast}

for target in "$@"; do
	src=$(sources "$target")
	# shellcheck disable=SC2086
	{
		$compiler $flags -fsanitize=fuzzer -o "$out/$target.afl" \
		    $src $common $model -lpthread
		AFL_LLVM_CMPLOG=1 afl-clang-fast $flags -fsanitize=fuzzer \
		    -o "$out/$target.cmplog" $src $common $model -lpthread
		AFL_USE_ASAN=1 AFL_USE_UBSAN=1 afl-clang-fast $flags \
		    -fsanitize=fuzzer -o "$out/$target.asan" \
		    $src $common $model -lpthread
	}
	# A target that cannot run one program is no target.
	head -c 200 /dev/zero >"$out/probe"
	"$out/$target.afl" "$out/probe" >/dev/null 2>&1 ||
	    { echo "$out/$target.afl does not run" >&2; exit 1; }
	rm -f "$out/probe"
	echo "$out/$target.afl ($compiler) $out/$target.cmplog $out/$target.asan"
done
# shellcheck disable=SC2086
cc $flags -fPIC -shared -o "$out/mutator_afl.so" "$root/fuzz/mutator_afl.c" \
    "$root/fuzz/gen.c" "$root/fuzz/prog/expr.c" "$root/fuzz/prog/schema.c"
echo "$out/mutator_afl.so"
