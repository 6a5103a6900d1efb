# SPDX-License-Identifier: BSD-2-Clause
"""Replay everything, then every engine for a few seconds on every target."""

import queue
import tempfile
import threading
import time

from . import build, corpus
from .common import count_files, say
from .engines import Target


def try_engines(s, opts, mutators):
    """All engines on one target, one after the other; was all well?"""
    s.generator(opts.time)
    s.libfuzzer(opts.time)
    if mutators:
        s.aflplusplus(opts.time, mutators)
    rates = {e: c.rates() for e, c in s.counts.items()}
    text = (f'{s.name:13} generator {rates["generator"][3]:9,.0f} '
            f'operations/s; libFuzzer {rates["libfuzzer"][1]:7,.0f} '
            f'programs/s, {s.cov} edges')
    if s.afl:
        text += (f'; AFL++ {s.afl["programs/s"]:7,.0f} programs/s, stability '
                 f'{s.afl["stability"]:.2f}%')
    finds = count_files(s.findings)
    say(f'{text}; {finds} findings')
    for error in s.errors:
        say(f'  {error}')
    return finds == 0 and not s.errors


def keep(builds, s):
    for path in s.findings.iterdir():
        kept = builds.folder / f'smoke-{s.name}-{path.name}'
        path.rename(kept)
        say(f'  kept: {kept}\n  fuzz/hffuzz triage --target {s.name} {kept}')


def work(line, builds, opts, mutators, folder, bad, running):
    while True:
        try:
            name = line.get_nowait()
        except queue.Empty:
            return
        s = Target(builds, folder, name)
        running.append(s)
        if not try_engines(s, opts, mutators):
            bad.append(name)
        keep(builds, s)


def wait(threads, line, running):
    """For all to end; when interrupted, end them."""
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        while not line.empty():
            line.get_nowait()
        for s in running:
            s.stop()
        for thread in threads:
            thread.join()
        raise


def smoke(builds, opts):
    """Replay everything, then every engine for a moment on every target."""
    start = time.time()
    say('building (libFuzzer and all, with ASan and UBSan)')
    targets = builds.make('asan', opts.targets, also=('vmsh', 'print_c'))
    bad = sorted(set(opts.targets) - set(targets))
    mutators = {}
    if build.has_afl():
        say('building (AFL++, afl-clang-fast)')
        bad += set(targets) - set(builds.make('afl', targets, kinds=('',)))
        mutators = builds.mutators()
    built = time.time()
    say(f'built in {built - start:.0f} s; replaying seeds, corpora, '
        'regressions')
    if corpus.replay(builds, opts) != 0:
        bad.append('replay')
    say(f'replayed in {time.time() - built:.0f} s; each engine and target '
        f'{opts.time} s on {opts.cores} cores')
    line = queue.Queue()
    for name in targets:
        line.put(name)
    with tempfile.TemporaryDirectory(dir=builds.folder) as folder:
        running = []
        threads = [threading.Thread(target=work, args=(
            line, builds, opts, mutators, folder, bad, running))
            for _ in range(opts.cores)]
        for thread in threads:
            thread.start()
        wait(threads, line, running)
    say(f'smoke: {"NOT GOOD: " + ", ".join(bad) if bad else "all good"}, '
        f'{time.time() - start:.0f} s')
    return 1 if bad else 0
