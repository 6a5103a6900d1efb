#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# .clusterfuzzlite/build.sh in the surroundings that OSS-Fuzz gives it, without
# Docker: names, statics, seeds, and a short run of each target from an empty
# folder.
#   test_oss_fuzz.sh [SECONDS [TARGET...]]     a target: 3; all targets
set -eu
seconds=${1:-3}
[ $# -eq 0 ] || shift
export HOLDFAST_FUZZ_TARGETS="$*"
want=$#
[ "$want" -gt 0 ] || want=14
command -v clang++ >/dev/null || exit 77
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src" "$dir/work" "$dir/out" "$dir/run"
ln -s "$root" "$dir/src/holdfast"

export SRC="$dir/src" WORK="$dir/work" OUT="$dir/out"
export CC=clang CXX=clang++ SANITIZER=address FUZZING_ENGINE=libfuzzer
export ARCHITECTURE=x86_64 FUZZING_LANGUAGE=c
export CFLAGS="${OPTIMIZE:--O1} -fno-omit-frame-pointer -gline-tables-only \
-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION -fsanitize=address \
-fsanitize-address-use-after-scope -fsanitize=fuzzer-no-link"
export CXXFLAGS="$CFLAGS" LIB_FUZZING_ENGINE=-fsanitize=fuzzer
bash "$root/.clusterfuzzlite/build.sh"

fail() {
	echo "$1" >&2
	exit 1
}

n=0
for target in "$OUT"/*; do
	name=$(basename "$target")
	case $name in
	*.options | *.dict | *_seed_corpus.zip) continue ;;
	esac
	echo "$name" | grep -qE '^[A-Za-z0-9_-]+$' || fail "$name: bad name"
	[ -f "$target.options" ] || fail "$name: no options"
	[ -f "${target}_seed_corpus.zip" ] || fail "$name: no seed corpus"
	ldd "$target" | grep -E '=> /' |
	    grep -vE 'lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|resolv)\.so' &&
	    fail "$name: needs a shared library that is not there"
	mkdir "$dir/run/$name"
	(cd "$dir/run/$name" && python3 -c "
import sys, zipfile
zipfile.ZipFile(sys.argv[1]).extractall('seeds')" "${target}_seed_corpus.zip" &&
	    mkdir -p seeds new &&
	    timeout 120 "$target" -max_total_time="$seconds" -max_len=2048 \
	    -timeout=25 new seeds >log 2>&1) ||
	    { tail -20 "$dir/run/$name/log" >&2; fail "$name: fails"; }
	echo "$name: $(grep -c . "$dir/run/$name/log") lines of log, good"
	n=$((n + 1))
done
[ "$n" -ge "$want" ] || fail "only $n targets"
echo "$n targets as OSS-Fuzz wants them"
