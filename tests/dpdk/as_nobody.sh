#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# as_nobody.sh COMMAND [ARG...]: uid and gid 65534, no group, no capability and
# no way to get one.  The program is copied to where that uid may read it.
set -eu

dir=$(mktemp -d)
chmod 755 "$dir"
trap 'rm -rf "$dir"' EXIT
cp "$1" "$dir/program"
chmod 755 "$dir/program"
shift
cd /
setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all \
	--inh-caps=-all --ambient-caps=-all --no-new-privs "$dir/program" "$@"
