#!/bin/bash -eu
# SPDX-License-Identifier: BSD-2-Clause
#
# What OSS-Fuzz and ClusterFuzzLite run.  They set CC, CXX, CFLAGS, CXXFLAGS,
# LIB_FUZZING_ENGINE, SRC, WORK and OUT; every target, its seed corpus, its
# options and its dictionary go to $OUT.  tests/fuzz/test_oss_fuzz.sh runs this
# without Docker.

cd "$SRC/holdfast"
build=$WORK/holdfast
rm -rf "$build"

# Only libraries and tools come from meson; targets are linked below, so that
# the engine's flags reach nothing else.
meson setup "$build" -Dbuildtype=plain -Dinvariants=2 -Dbench=false \
    -Ddpdk=disabled -Db_lundef=false -Ddefault_library=static >/dev/null
exec python3 fuzz/campaign/ossfuzz.py "$build"
