# SPDX-License-Identifier: BSD-2-Clause
"""The bug benchmark: how long each engine needs for each known bug.

One attempt is one engine on one bug with one seed; it ends when something is
found.  Attempts come in rounds, one a seed, the quick engines first; a thread
a core takes them from the round's list.  A bug that an engine missed with its
first two seeds is not tried with the others, but once more at the end, for
longer.  When the budget is used up nothing more begins but the first two
rounds.  Times are of the processor; limits are by the clock.
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
ALARM_TIME = 2  # seconds that the generator looks for what is not there
GOALS = (2, 60)  # seconds, of generator or libFuzzer: median and worst


def arguments(verb):
    verb.add_argument('--seeds', type=int, default=5)
    verb.add_argument('--engine', dest='engines', action='append',
                      choices=ENGINES, help='default: all of them')
    verb.add_argument('--bug', dest='names', action='append')
    verb.add_argument('--budget', type=int, default=780,
                      help='seconds; two rounds are run in any case')
    verb.add_argument('--long', type=int, default=60,
                      help='seconds for the last try at what was missed; '
                           '0: none')
    verb.add_argument('--json', help='write the figures there')


class Bench:
    """One copy of the tree with all bugs; the environment chooses one."""

    def __init__(self, builds, opts):
        self.opts = opts
        self.until = None  # when nothing more begins; None: whenever
        folder = builds.folder / 'bugs'
        self.gone = bugs.make_tree(folder / 'src', builds.source)
        self.builds = build.Builds(folder, folder / 'src')
        self.source = builds.source
        self.targets = self.builds.targets()
        self.engines = opts.engines or [
            e for e in ENGINES if e != 'afl' or build.has_afl()]
        unknown = set(opts.names or ()) - {b.name for b in bugs.catalogue()}
        if unknown:
            raise SystemExit('no such bug: ' + ', '.join(sorted(unknown)))
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

    def attempt(self, engine, bug, target, seed, limit, folder):
        """(found, oracle, reached, triggered, seconds)."""
        log = pathlib.Path(folder) / 'log'
        log.write_bytes(bytes(16))
        found, oracle, spent = getattr(self, engine)(
            bug, target, seed, limit, log, folder)
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

    def replay(self, bug, target, _seed, _limit, log, _folder):
        paths = programs(target, 'seeds', 'corpus')
        if not paths:
            return False, '-', 0.0
        text, code, spent = self.call(
            [self.builds.binary('plain', 'replay_', target), *paths],
            self.env(bug, log), 60)
        return code != 0, self.oracle(text), spent

    def generator(self, bug, target, seed, limit, log, _folder):
        flavour = 'asan' if bug.kind in SANITIZED else 'plain'
        text, code, spent = self.call(
            [self.builds.binary(flavour, 'generate_', target), '-s',
             1000003 * seed + 1, '-t', limit],
            self.env(bug, log), limit + 20)
        return code != 0, self.oracle(text), spent

    def libfuzzer(self, bug, target, seed, limit, log, folder):
        text, code, spent = self.call(
            [self.builds.binary('asan', '', target), f'-seed={seed + 1}',
             f'-max_total_time={limit}', '-max_len=2048',
             '-len_control=0', f'-artifact_prefix={folder}/'],
            self.env(bug, log), limit + 20)
        return code != 0, self.oracle(text), spent

    def afl(self, bug, target, seed, limit, log, folder):
        start = pathlib.Path(folder) / 'in'
        start.mkdir(exist_ok=True)
        (start / 'nothing').write_bytes(bytes(24))
        out = pathlib.Path(folder) / f'out{seed}'
        _, _, spent = self.call(
            ['afl-fuzz', '-i', start, '-o', out, '-V', limit, '-s',
             seed + 1, '-t', '2000+', '-g', 16, '-G', 2048, '--',
             self.builds.binary('afl', '', target)],
            {**build.afl_env(self.builds, self.mutators, target),
             **self.env(bug, log, AFL_BENCH_UNTIL_CRASH='1',
                        AFL_HANG_TMOUT='5000',
                        AFL_CUSTOM_MUTATOR_ONLY='1')},
            limit + 30)
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
                if self.attempt(engine, none, target, 0, ALARM_TIME,
                                folder)[0]:
                    bad.append(f'{engine} {target}')

        share([(e, t) for t in self.opts.targets
               for e in ('replay', 'generator')], one, self.opts.cores)
        return sorted(bad)

    def measure(self, job, seed, limit):
        """One seed on the bug's first target, on the next one where that
        did not find it; reached and triggered of all."""
        bug, engine = job
        found, oracle, reached, triggered, spent = False, '-', 0, 0, 0.0
        targets = [t for t in bug.targets
                   if t in self.targets and t in self.opts.targets]
        with tempfile.TemporaryDirectory() as folder:
            for target in targets:
                found, oracle, r, t, seconds = self.attempt(
                    engine, bug, target, seed, limit, folder)
                reached, triggered = reached + r, triggered + t
                spent += seconds
                if found:
                    break
        return found, oracle, reached, triggered, spent

    def rounds(self, table):
        """(title, jobs, seed, limit) until seeds or the budget are used up."""
        by_engine = [(b, e) for e in self.engines for b in self.bugs]
        until = time.time() + self.opts.budget
        for seed in range(self.opts.seeds):
            self.until = until if seed >= GIVE_UP else None
            yield (f'round {seed + 1}',
                   [job for job in by_engine if table.wants(job, seed)],
                   seed, self.opts.time)
        if not self.opts.long:
            return
        self.until = None
        missed = [job for job in by_engine if table.missed(job)]
        # As many as the rest of the budget has room for, and one a core.
        room = max(0.0, until - time.time()) // self.opts.long
        room = self.opts.cores * (int(room) + (room > 0))
        if missed and room:
            if room < len(missed):
                say(f'the budget ends before {len(missed) - room} last tries')
            yield ('last tries', missed[:room], self.opts.seeds,
                   self.opts.long)


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


def median(values):
    """The middle one; the mean of the two in the middle."""
    n = len(values)
    return (values[(n - 1) // 2] + values[n // 2]) / 2


def figures(hits):
    found = sorted(h[4] for h in hits if h[0])
    return {'found': len(found), 'of': len(hits),
            'reached': sum(h[2] > 0 for h in hits),
            'triggered': sum(h[3] > 0 for h in hits),
            'oracle': ','.join(sorted({h[1] for h in hits if h[0]})),
            'median': median(found) if found else None,
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
        found = sorted(r['worst'] for r in rows if r['found'])
        every = sum(r['found'] == r['of'] for r in rows)
        medians = sorted(r['median'] for r in rows if r['found'])
        say(f'{engine:10} found {len(found)} of {len(rows)} bugs'
            f' ({every} with every seed); median of medians '
            + (f'{median(medians):.2f} s, worst {found[-1]:.2f} s'
               if found else '-'))
        missed = [n for n, r in results.items()
                  if engine in r and not r[engine]['found']]
        if missed and engine != 'replay':
            say(f'{"":10} not: ' + ', '.join(missed))
    quick = [min((f['worst'], f['median']) for e, f in r.items()
                 if e in ('generator', 'libfuzzer') and f['found'] == f['of'])
             for r in results.values()
             if any(e in ('generator', 'libfuzzer') and f['found'] == f['of']
                    for e, f in r.items())]
    good = sum(w <= GOALS[1] and m <= GOALS[0] for w, m in quick)
    say(f'{good} of {len(results)} bugs are found by generator or libFuzzer '
        f'with every seed, median at most {GOALS[0]} s, worst {GOALS[1]} s')
    any_found = sum(any(f['found'] for f in r.values())
                    for r in results.values())
    say(f'{any_found} of {len(results)} bugs are found by some engine')
    return any_found == len(results)


class Table:
    """What each engine did with each bug, by seed."""

    def __init__(self):
        self.hits = {}
        self.lock = threading.Lock()

    def add(self, job, hit):
        with self.lock:
            self.hits.setdefault(job, []).append(hit)

    def missed(self, job):
        return (job[1] != 'replay' and job in self.hits
                and not any(h[0] for h in self.hits[job]))

    def wants(self, job, seed):
        if job[1] == 'replay':
            return seed == 0
        return not (seed >= GIVE_UP and self.missed(job))

    def results(self, b):
        return {bug.name: {e: figures(self.hits[bug, e]) for e in b.engines
                           if (bug, e) in self.hits} for bug in b.bugs}

    def write(self, b, path):
        results = self.results(b)
        if path:
            pathlib.Path(path).write_text(json.dumps(results, indent=1))
        return results


def run_rounds(b, opts, table, start):
    try:
        for title, jobs, seed, limit in b.rounds(table):
            def one(job, seed=seed, limit=limit):
                if b.until is None or time.time() < b.until:
                    table.add(job, b.measure(job, seed, limit))

            share(jobs, one, opts.cores)
            table.write(b, opts.json)
            say(f'{title}: {len(jobs)} attempts, {time.time() - start:.0f} s, '
                f'load {load():.1f}')
    except KeyboardInterrupt:
        say('interrupted: what there is so far')


def bench(builds, opts):
    """How long until each known bug is found; --mutants: flipped branches."""
    if opts.mutants:
        return mutants.run_mutants(builds, opts)
    start = time.time()
    b = Bench(builds, opts)
    for bug in b.gone:
        say(f'{bug.number:3d} {bug.name:20} STALE: {bug.file} has changed')
    say(f'built in {time.time() - start:.0f} s')
    start = time.time()
    bad = b.false_alarms()
    if bad:
        say('found something with no bug in: ' + ', '.join(bad))
        return 1
    say(f'nothing is found with no bug in; now {len(b.bugs)} bugs, '
        f'{opts.seeds} seeds, at most {opts.time} s each, {opts.cores} '
        f'cores, load {load():.1f}')
    table = Table()
    run_rounds(b, opts, table, start)
    results = table.write(b, opts.json)
    say(f'{"no":>3} {"bug":20} {"class":24} {"engine":9} '
        f'reached/triggered/detected  median   worst  oracle')
    for bug in b.bugs:
        for engine, f in results[bug.name].items():
            say(line(bug, engine, f))
    good = summary(results, b.engines)
    say(f'{time.time() - start:.0f} s, load {load():.1f}')
    return 0 if good and not b.gone else 1
