# SPDX-License-Identifier: BSD-2-Clause
"""Replay everything, then every engine for a few seconds."""

import pathlib
import tempfile

from . import build, corpus
from .common import count_files, say
from .engines import Slice


def smoke(builds, opts):
    bad = corpus.replay(builds, opts)
    targets = builds.make('asan', opts.targets, also=('vmsh',))
    if len(targets) != len(opts.targets):
        bad = 1
    mutators = {}
    if build.has_afl():
        builds.make('afl', targets, kinds=('',))
        mutators = builds.mutators()
    for target in targets:
        with tempfile.TemporaryDirectory(dir=builds.folder) as folder:
            s = Slice(builds, pathlib.Path(folder), target)
            s.generator(opts.time)
            s.libfuzzer(opts.time)
            if mutators and builds.binary('afl', '', target).exists():
                s.aflplusplus(max(5, opts.time), mutators)
            finds = count_files(s.findings)
            afl = s.afl or {'programs/s': 0, 'stability': '-'}
            say(f'{target}: generator {s.ops_rate:.0f} operations/s; '
                f'libFuzzer {s.rate:.0f} programs/s, coverage {s.cov}; '
                f'AFL++ {afl["programs/s"]:.0f} programs/s, stability '
                f'{afl["stability"]}; {finds} findings')
            for error in s.errors:
                say(f'  {error}')
            for path in s.findings.iterdir():
                keep = builds.folder / ('smoke-' + path.name)
                path.rename(keep)
                say(f'  {keep}')
            bad |= finds > 0 or bool(s.errors)
    say('smoke: ' + ('FINDINGS' if bad else 'no findings'))
    return int(bool(bad))
