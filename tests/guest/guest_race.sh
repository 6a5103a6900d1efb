#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Inside the guest, where nobody else uses huge pages: our own threads never
# lose a frame to each other.
HOLDFAST_ALONE=1 exec ./test_linux_race --only span_assemble__works
