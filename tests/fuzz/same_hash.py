#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Have several builds answered all programs alike?

    tests/fuzz/same_hash.py BUILD...

Each BUILD is a Meson folder in which the replay tests were run; the hashes of
all that operations answered are read from its log.  Compilers, their levels of
optimisation and sanitizers must not change an answer.  Exit: 0 alike, 1 not,
or a target was replayed in one build only.
"""

import json
import pathlib
import re
import sys

LINE = re.compile(r'^(fuzz_\w+): \d+ files, \d+ bad.* hash ([0-9a-f]{16})$',
                  re.MULTILINE)


def hashes(build):
    log = pathlib.Path(build) / 'meson-logs' / 'testlog.json'
    found = {}
    if not log.exists():
        return found
    for line in log.read_text(errors='replace').splitlines():
        found.update(LINE.findall(json.loads(line).get('stdout', '')))
    # Real threads answer as it comes; their replayer says 0.
    return {t: h for t, h in found.items() if int(h, 16) != 0}


def main():
    builds = {build: hashes(build) for build in sys.argv[1:]}
    if len(builds) < 2:
        print(__doc__)
        return 2
    targets = sorted(set().union(*builds.values()))
    bad = 0
    for target in targets:
        answers = {b: h[target] for b, h in builds.items() if target in h}
        same = len(set(answers.values())) == 1 and len(answers) > 1
        bad += not same
        print(f"{target}: {len(answers)} builds "
              f"{'alike' if same else 'DIFFER, OR ARE ONE: ' + str(answers)}")
    if not targets:
        print('no replay ran in any of them')
    return 1 if bad or not targets else 0


if __name__ == '__main__':
    sys.exit(main())
