# SPDX-License-Identifier: BSD-2-Clause
"""The bug benchmark: how long each engine needs for each known bug.

One attempt is one engine on one bug with one seed; it ends when something is
found.  A thread a core takes attempts from a list.  A bug that an engine missed
with its first two seeds is not tried with the others.  Times are of the
processor; the limit is by the clock.
"""

import json
import os
import pathlib
import queue
import re
import signal
import struct
import subprocess
import tempfile
import threading
import time

from . import build, bugs, mutants
from .common import environment, load, programs, say
from .engines import end_group, guarded

ENGINES = ('replay', 'generator', 'libfuzzer', 'afl')
SANITIZED = ('use after free', 'overflow')  # seen by nobody else
GIVE_UP = 2  # seeds without success after which the others are left out


def arguments(verb):
    verb.add_argument('--seeds', type=int, default=5)
    verb.add_argument('--engine', dest='engines', action='append',
                      choices=ENGINES, help='default: all of them')
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
        self.engines = opts.engines or [
            e for e in ENGINES if e != 'afl' or build.has_afl()]
        self.bugs = [b for b in bugs.catalogue() if b not in self.gone
                     and set(b.targets) & set(opts.targets)
                     and (not opts.names or b.name in opts.names)]
        named = {t for bug in self.bugs for t in bug.targets}
        opts.targets = [t for t in self.targets
                        if t in opts.targets and t in named]
        want = opts.targets
        self.builds.make('plain', want, kinds=('replay_', 'generate_'))
        if 'libfuzzer' in self.engines:
            self.builds.make('asan', want, kinds=('', 'generate_'))
        elif any(bug.kind in SANITIZED for bug in self.bugs):
            self.builds.make('asan', want, kinds=('generate_',))
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
        found, oracle, spent = getattr(self, engine)(bug, target, seed, log,
                                                     folder)
        reached, triggered = struct.unpack('QQ', log.read_bytes())
        return found, oracle, reached, triggered, spent

    @staticmethod
    def call(args, env, limit):
        """Run one engine: (output, exit code, seconds of processor time).
        What else the machine does then makes no difference."""
        child = subprocess.Popen(
            [*guarded(), *[str(a) for a in args]], env=env, text=True,
            errors='replace', stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
        timer = threading.Timer(limit, end_group, (child, signal.SIGKILL))
        timer.start()
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode == -signal.SIGKILL:
            text = 'FINDING it: hang at'
        return text, child.returncode, usage.ru_utime + usage.ru_stime

    @staticmethod
    def oracle(text):
        if 'ERROR: AddressSanitizer' in text or 'runtime error' in text:
            return 'sanitizer'
        found = re.search(r'FINDING \w+: (\w+)', text)
        return found.group(1) if found else 'crash'

    def replay(self, bug, target, _seed, log, _folder):
        paths = programs(target, 'seeds', 'corpus')
        if not paths:
            return False, '-', 0.0
        text, code, spent = self.call(
            [self.builds.binary('plain', 'replay_', target), *paths],
            self.env(bug, log), 60)
        return code != 0, self.oracle(text), spent

    def generator(self, bug, target, seed, log, _folder):
        flavour = 'asan' if bug.kind in SANITIZED else 'plain'
        text, code, spent = self.call(
            [self.builds.binary(flavour, 'generate_', target), '-s',
             1000003 * seed + 1, '-t', self.opts.time],
            self.env(bug, log), self.opts.time + 20)
        return code != 0, self.oracle(text), spent

    def libfuzzer(self, bug, target, seed, log, folder):
        text, code, spent = self.call(
            [self.builds.binary('asan', '', target), f'-seed={seed + 1}',
             f'-max_total_time={self.opts.time}', '-max_len=2048',
             '-len_control=0', f'-artifact_prefix={folder}/'],
            self.env(bug, log), self.opts.time + 20)
        return code != 0, self.oracle(text), spent

    def afl(self, bug, target, seed, log, folder):
        start = pathlib.Path(folder) / 'in'
        start.mkdir(exist_ok=True)
        (start / 'nothing').write_bytes(bytes(24))
        out = pathlib.Path(folder) / f'out{seed}'
        _, _, spent = self.call(
            ['afl-fuzz', '-i', start, '-o', out, '-V', self.opts.time, '-s',
             seed + 1, '-t', '2000+', '-g', 16, '-G', 2048, '--',
             self.builds.binary('afl', '', target)],
            {**build.afl_env(self.builds, self.mutators, target),
             **self.env(bug, log, AFL_BENCH_UNTIL_CRASH='1',
                        AFL_HANG_TMOUT='5000')},
            self.opts.time + 30)
        found = any((out / 'default' / 'crashes').glob('id*')) or any(
            (out / 'default' / 'hangs').glob('id*'))
        return found, 'crash', spent

    def false_alarms(self):
        """With no bug in, nothing may be found."""
        none = bugs.Bug(0, 'none', '-', self.targets, '-', '-', '', '')
        bad = []

        def one(job):
            engine, target = job
            with tempfile.TemporaryDirectory() as folder:
                if self.attempt(engine, none, target, 0, folder)[0]:
                    bad.append(f'{engine} {target}')

        share([(e, t) for t in self.opts.targets
               for e in ('replay', 'generator')], one, self.opts.cores)
        return sorted(bad)

    def measure(self, job):
        """One engine on one bug: each seed on the bug's first target, on
        the next one where that did not find it."""
        bug, engine = job
        targets = [t for t in bug.targets
                   if t in self.targets and t in self.opts.targets]
        hits, missed = [], 0
        for seed in range(1 if engine == 'replay' else self.opts.seeds):
            if missed == GIVE_UP == seed:
                break
            with tempfile.TemporaryDirectory() as folder:
                hit = self.best(engine, bug, targets, seed, folder)
            hits.append(hit)
            missed += not hit[0]
        return hits

    def best(self, engine, bug, targets, seed, folder):
        """The first target that finds it; reached and triggered of all."""
        found, oracle, reached, triggered, spent = False, '-', 0, 0, 0.0
        for target in targets:
            found, oracle, r, t, seconds = self.attempt(
                engine, bug, target, seed, folder)
            reached, triggered = reached + r, triggered + t
            spent += seconds
            if found:
                break
        return found, oracle, reached, triggered, spent


def share(jobs, function, cores):
    """Do jobs on as many threads as there are cores; Ctrl-C ends it."""
    line = queue.Queue()
    for job in jobs:
        line.put(job)
    errors = []

    def work():
        while not errors:
            try:
                function(line.get_nowait())
            except queue.Empty:
                return
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True)
               for _ in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.5)
    if errors:
        raise errors[0]


def figures(hits):
    found = sorted(h[4] for h in hits if h[0])
    return {'found': len(found), 'of': len(hits),
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


class Table:
    """Prints lines in the order of the catalogue, as soon as they are due."""

    def __init__(self, order):
        self.order = order
        self.results = {}
        self.printed = 0
        self.lock = threading.Lock()

    def add(self, job, f):
        with self.lock:
            self.results[job] = f
            while (self.printed < len(self.order)
                   and self.order[self.printed] in self.results):
                bug, engine = self.order[self.printed]
                say(line(bug, engine, self.results[bug, engine]))
                self.printed += 1


def bench(builds, opts):
    """How long until each known bug is found; --mutants: flipped branches."""
    if opts.mutants:
        return mutants.run_mutants(builds, opts)
    b = Bench(builds, opts)
    for bug in b.gone:
        say(f'{bug.number:3d} {bug.name:20} STALE: {bug.file} has changed')
    start = time.time()
    bad = b.false_alarms()
    if bad:
        say('found something with no bug in: ' + ', '.join(bad))
        return 1
    say(f'nothing is found with no bug in; now {len(b.bugs)} bugs, '
        f'{opts.seeds} seeds, at most {opts.time} s each, {opts.cores} '
        f'cores, load {load():.1f}')
    say(f'{"no":>3} {"bug":20} {"class":24} {"engine":9} '
        f'reached/triggered/detected  median   worst  oracle')
    order = [(bug, engine) for bug in b.bugs for engine in b.engines]
    table = Table(order)
    share(order, lambda job: table.add(job, figures(b.measure(job))),
          opts.cores)
    results = {bug.name: {e: table.results[bug, e] for e in b.engines}
               for bug in b.bugs}
    good = summary(results, b.engines)
    say(f'{time.time() - start:.0f} s, load {load():.1f}')
    if opts.json:
        pathlib.Path(opts.json).write_text(json.dumps(results, indent=1))
    return 0 if good and not b.gone else 1
