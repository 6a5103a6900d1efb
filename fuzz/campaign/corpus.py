# SPDX-License-Identifier: BSD-2-Clause
"""Corpora: replaying them, and folding what campaigns kept into fuzz/corpus.

A store for several machines is any folder that they share: MACHINE/TARGET/
holds the corpus of one, and `hffuzz merge --store FOLDER` reads all of them.
"""

import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from .common import environment, programs, say

CORPUS_MAX = 2 << 20  # bytes a target


def replay(builds, opts):
    """Every seed, corpus and regression file, each twice, no engine."""
    bad = 0
    for target in builds.make('asan', opts.targets, kinds=('replay_',)):
        paths = programs(target, 'seeds', 'corpus', 'regressions')
        if paths:
            bad |= subprocess.run(
                [builds.binary('asan', 'replay_', target), *paths],
                env=environment()).returncode
    return bad


def sources(opts, target):
    """Folders that may hold programs of a target."""
    out = pathlib.Path(opts.out) / target
    found = [out / 'corpus', out / 'afl/default/queue',
             pathlib.Path(opts.corpus) / target]
    if opts.store:
        found += sorted(pathlib.Path(opts.store).glob(f'*/{target}'))
    return [p for p in found if p.is_dir()]


def fill(store, folder):
    """Replace a target's corpus by files of `folder`, the small first."""
    store.mkdir(parents=True, exist_ok=True)
    for old in store.iterdir():
        if not old.name.startswith('.'):
            old.unlink()
    size = n = 0
    for path in sorted(pathlib.Path(folder).iterdir(),
                       key=lambda p: (p.stat().st_size, p.name)):
        data = path.read_bytes()
        if size + len(data) > CORPUS_MAX:
            break
        size += len(data)
        n += 1
        (store / hashlib.sha1(data).hexdigest()).write_bytes(data)
    return n, size


def push(opts, target):
    """Give this machine's corpus to the shared store."""
    mine = pathlib.Path(opts.store) / (opts.machine or socket.gethostname())
    mine = mine / target
    mine.mkdir(parents=True, exist_ok=True)
    for folder in sources(opts, target)[:2]:
        for path in folder.iterdir():
            if path.is_file():
                name = hashlib.sha1(path.read_bytes()).hexdigest()
                if not (mine / name).exists():
                    shutil.copy(path, mine / (name + '.part'))
                    os.replace(mine / (name + '.part'), mine / name)


def merge(builds, opts):
    """Fold what runs kept into fuzz/corpus, minimised by libFuzzer."""
    for target in builds.make('asan', opts.targets, kinds=('',)):
        if opts.store:
            push(opts, target)
        with tempfile.TemporaryDirectory() as folder:
            r = subprocess.run(
                [builds.binary('asan', '', target), '-merge=1',
                 '-max_len=2048', folder, *sources(opts, target)],
                env=environment(), stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True, errors='replace')
            if r.returncode != 0:
                say(f'{target}: merge failed: {r.stderr[-400:]}')
                return 1
            n, size = fill(pathlib.Path(opts.corpus) / target, folder)
        say(f'{target}: {n} files, {size} bytes')
    return 0
