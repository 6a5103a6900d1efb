#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Build the targets for AFL++ from the sources that libFuzzer uses.
#
#   fuzz/build_afl.sh OUTDIR [TARGET...]
#
# For each target: TARGET.afl (LTO where afl-clang-lto works, otherwise
# afl-clang-fast), TARGET.cmplog, TARGET.asan, and one mutator for all,
# mutator_afl.so.  Run one with
#
#   HOLDFAST_FUZZ_TARGET=TARGET AFL_CUSTOM_MUTATOR_LIBRARY=OUTDIR/mutator_afl.so \
#   afl-fuzz -i SEEDS -o OUT -g 16 -G 2048 -c OUTDIR/TARGET.cmplog -- OUTDIR/TARGET.afl
set -eu

[ $# -ge 1 ] || { sed -n '3,14p' "$0" >&2; exit 2; }
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

# afl-clang-lto needs the linker plugin of the same LLVM: try it once.
compiler=afl-clang-fast
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
echo 'int main(void) { return 0; }' >"$probe/p.c"
if afl-clang-lto -o "$probe/p" "$probe/p.c" >/dev/null 2>&1; then
	compiler=afl-clang-lto
fi

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
	echo "$out/$target.afl ($compiler) $out/$target.cmplog $out/$target.asan"
done
# shellcheck disable=SC2086
cc $flags -fPIC -shared -o "$out/mutator_afl.so" "$root/fuzz/mutator_afl.c" \
    "$root/fuzz/gen.c" "$root/fuzz/prog/expr.c" "$root/fuzz/prog/schema.c"
echo "$out/mutator_afl.so"
