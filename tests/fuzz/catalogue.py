#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every bug of fuzz/bugs/catalogue.tsv has its place in the sources."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from fuzz.campaign import bugs  # noqa: E402


def main():
    known = bugs.catalogue()
    gone = bugs.stale(known)
    for bug in gone:
        print(f'{bug.number} {bug.name}: {bug.file} has changed, or another '
              'bug stands in its place')
    assert len({b.number for b in known}) == len(known) >= 64
    assert len({b.name for b in known}) == len(known)
    return 1 if gone else 0


if __name__ == '__main__':
    sys.exit(main())
