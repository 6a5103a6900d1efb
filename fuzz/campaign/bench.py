# SPDX-License-Identifier: BSD-2-Clause
"""The bug benchmark: how long each engine needs for each known bug."""

import json
import pathlib
import re
import struct
import subprocess
import tempfile
import time

from . import build, bugs, mutants
from .common import environment, programs, say

ENGINES = ('replay', 'generator', 'libfuzzer', 'afl')


def arguments(verb):
    verb.add_argument('--seeds', type=int, default=5)
    verb.add_argument('--engine', dest='engines', action='append',
                      choices=ENGINES,
                      help='default: replay, generator, libfuzzer')
    verb.add_argument('--bug', dest='names', action='append')
    verb.add_argument('--json', help='write the figures there')


class Bench:
    """One copy of the tree with all bugs; the environment chooses one."""

    def __init__(self, builds, opts):
        self.opts = opts
        folder = builds.folder / 'bugs'
        self.gone = bugs.make_tree(folder / 'src', builds.source)
        self.builds = build.Builds(folder, folder / 'src')
        self.source = builds.source
        self.targets = self.builds.targets()
        self.engines = opts.engines or ('replay', 'generator', 'libfuzzer')
        named = {t for bug in bugs.catalogue() for t in bug.targets}
        opts.targets = [t for t in self.targets
                        if t in opts.targets and t in named]
        want = opts.targets
        self.builds.make('plain', want, kinds=('replay_', 'generate_'))
        kinds = ('', 'generate_') if 'libfuzzer' in self.engines else (
            'generate_',)
        self.builds.make('asan', want, kinds=kinds)
        if 'afl' in self.engines:
            self.builds.make('afl', want, kinds=('',))
            self.mutators = self.builds.mutators()

    def env(self, bug, log, **more):
        return environment(HOLDFAST_BUG=str(bug.number),
                           HOLDFAST_BUG_LOG=str(log), **more)

    def attempt(self, engine, bug, target, seed, folder):
        """(found, oracle, reached, triggered, seconds)."""
        log = pathlib.Path(folder) / 'log'
        log.write_bytes(bytes(16))
        start = time.time()
        found, oracle = getattr(self, engine)(bug, target, seed, log, folder)
        spent = time.time() - start
        reached, triggered = struct.unpack('QQ', log.read_bytes())
        return found, oracle, reached, triggered, spent

    @staticmethod
    def call(args, env, limit, **more):
        try:
            r = subprocess.run([str(a) for a in args], env=env, text=True,
                               stdout=subprocess.PIPE, timeout=limit,
                               stderr=subprocess.STDOUT, errors='replace',
                               **more)
            return r.returncode, r.stdout
        except subprocess.TimeoutExpired:
            return -1, 'FINDING it: hang at'

    @staticmethod
    def oracle(text):
        if 'ERROR: AddressSanitizer' in text or 'runtime error' in text:
            return 'sanitizer'
        found = re.search(r'FINDING \w+: (\w+)', text)
        return found.group(1) if found else 'crash'

    def replay(self, bug, target, _seed, log, _folder):
        paths = programs(target, 'seeds', 'corpus')
        if not paths:
            return False, '-'
        code, text = self.call(
            [self.builds.binary('plain', 'replay_', target), *paths],
            self.env(bug, log), 60)
        return code != 0, self.oracle(text)

    def generator(self, bug, target, seed, log, _folder):
        asan = bug.kind in ('use after free', 'overflow')
        flavour = 'asan' if asan else 'plain'
        code, text = self.call(
            [self.builds.binary(flavour, 'generate_', target), '-s',
             1000003 * seed + 1, '-t', self.opts.time],
            self.env(bug, log), self.opts.time + 20)
        return code != 0, self.oracle(text)

    def libfuzzer(self, bug, target, seed, log, folder):
        code, text = self.call(
            [self.builds.binary('asan', '', target), f'-seed={seed + 1}',
             f'-max_total_time={self.opts.time}', '-max_len=2048',
             '-len_control=0', f'-artifact_prefix={folder}/'],
            self.env(bug, log), self.opts.time + 20)
        return code != 0, self.oracle(text)

    def afl(self, bug, target, seed, log, folder):
        start = pathlib.Path(folder) / 'in'
        start.mkdir(exist_ok=True)
        (start / 'nothing').write_bytes(bytes(24))
        out = pathlib.Path(folder) / f'out{seed}'
        self.call(
            ['afl-fuzz', '-i', start, '-o', out, '-V', self.opts.time, '-s',
             seed + 1, '-t', '2000+', '-g', 16, '-G', 2048, '--',
             self.builds.binary('afl', '', target)],
            {**build.afl_env(self.builds, self.mutators, target),
             **self.env(bug, log, AFL_BENCH_UNTIL_CRASH='1')},
            self.opts.time + 30)
        found = any((out / 'default' / 'crashes').glob('id*')) or any(
            (out / 'default' / 'hangs').glob('id*'))
        return found, 'crash'

    def false_alarms(self):
        """With no bug in, nothing may be found."""
        none = bugs.Bug(0, 'none', '-', self.targets, '-', '-', '', '')
        bad = []
        with tempfile.TemporaryDirectory() as folder:
            for target in self.opts.targets:
                for engine in ('replay', 'generator'):
                    if self.attempt(engine, none, target, 0, folder)[0]:
                        bad.append(f'{engine} {target}')
        return bad

    def measure(self, bug, engine):
        """All seeds of one engine; the first target of the bug that has it."""
        hits = []
        with tempfile.TemporaryDirectory() as folder:
            targets = [t for t in bug.targets
                       if t in self.targets and t in self.opts.targets]
            once = engine == 'replay'
            for seed in range(1 if once else self.opts.seeds):
                for target in targets:
                    hits.append(self.attempt(engine, bug, target, seed,
                                             folder))
                    if hits[-1][0]:
                        break
        return hits


def figures(hits, seeds):
    found = sorted(h[4] for h in hits if h[0])
    return {'found': len(found), 'of': seeds,
            'reached': sum(h[2] > 0 for h in hits),
            'triggered': sum(h[3] > 0 for h in hits),
            'oracle': ','.join(sorted({h[1] for h in hits if h[0]})),
            'median': found[len(found) // 2] if found else None,
            'worst': found[-1] if found else None}


def line(bug, engine, f):
    times = (f'{f["median"]:7.2f} {f["worst"]:7.2f}'
             if f['found'] else f'{"-":>7} {"-":>7}')
    return (f'{bug.number:3d} {bug.name:20} {bug.kind:24} {engine:9} '
            f'{f["reached"]}/{f["triggered"]}/{f["found"]} of {f["of"]} '
            f'{times}  {f["oracle"]}')


def summary(results, engines):
    say()
    for engine in engines:
        rows = [r[engine] for r in results.values() if engine in r]
        found = sorted(r['worst'] for r in rows if r['found'] == r['of'])
        some = sum(r['found'] > 0 for r in rows)
        medians = sorted(r['median'] for r in rows if r['found'])
        say(f'{engine:10} found {some} of {len(rows)} bugs'
            f' ({len(found)} with every seed); median of medians '
            + (f'{medians[len(medians) // 2]:.2f} s, worst '
               f'{max(found):.2f} s' if found else '-'))
    any_found = sum(any(f['found'] for f in r.values())
                    for r in results.values())
    say(f'{any_found} of {len(results)} bugs are found by some engine')
    return any_found == len(results)


def bench(builds, opts):
    """How long until each known bug is found; --mutants: flipped branches."""
    if opts.mutants:
        return mutants.run_mutants(builds, opts)
    b = Bench(builds, opts)
    for bug in b.gone:
        say(f'{bug.number:3d} {bug.name:20} STALE: {bug.file} has changed')
    bad = b.false_alarms()
    if bad:
        say('found something with no bug in: ' + ', '.join(bad))
        return 1
    say(f'{"no":>3} {"bug":20} {"class":24} {"engine":9} '
        f'reached/triggered/detected  median   worst  oracle')
    results = {}
    for bug in bugs.catalogue():
        if bug in b.gone or not set(bug.targets) & set(b.targets):
            continue
        if opts.names and bug.name not in opts.names:
            continue
        results[bug.name] = {}
        for engine in b.engines:
            seeds = 1 if engine == 'replay' else opts.seeds
            f = figures(b.measure(bug, engine), seeds)
            results[bug.name][engine] = f
            say(line(bug, engine, f))
    good = summary(results, b.engines)
    if opts.json:
        pathlib.Path(opts.json).write_text(json.dumps(results, indent=1))
    return 0 if good and not b.gone else 1
