#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The pipeline reports: the generator finds the canary, the reducer makes it
# two records, the replayer sees it.
#   test_pipeline.sh GENERATE REPLAY MINIMIZE
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if "$1" -s 1 -n 1000 -o "$dir" >"$dir/log" 2>&1; then
	echo "the generator did not find the canary" >&2
	exit 1
fi
found=$(ls "$dir"/gen-*)
"$2" -x "$found"
"$3" -o "$dir/small.hfp" "$found" | grep -q 'canary at find'
[ "$(grep -c -E '^(insert|find) ' "$dir/small.hfp")" -eq 2 ]
"$2" -x "$dir/small.hfp"
if "$2" "$dir/small.hfp" 2>/dev/null; then
	echo "the replayer did not report the canary" >&2
	exit 1
fi
