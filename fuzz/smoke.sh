#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Replay everything and run each target for a short while.
#   fuzz/smoke.sh [BUILD]
set -eu
exec "$(dirname "$0")/hffuzz" --build "${1:-build-fuzz}" smoke --time "${SECONDS_EACH:-10}"
