# SPDX-License-Identifier: BSD-2-Clause
"""A campaign: every engine on every target for a while, on some cores.

The time is cut into rounds, and each round into slices, one engine on one
target each; a thread a core takes slices from a list.  Programs that an
engine kept lie in the target's corpus folder when the next one begins, so
engines exchange at every slice.  State is kept in the folder of the campaign,
so that the next run goes on where this one ended.
"""

import json
import pathlib
import queue
import re
import sys
import threading
import time

from . import build, common, report, triage
from .common import programs, quiet, say
from .engines import Slice

SHARES = {'libfuzzer': 5, 'afl': 3, 'generator': 2}  # of ten
SLICE_MIN = 8  # seconds: less is spent on starting
SAMPLE = 2


class Campaign:
    def __init__(self, builds, opts):
        self.builds, self.opts = builds, opts
        self.out = pathlib.Path(opts.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.start = time.time()
        self.state = self.load()
        self.slices = {}
        self.running = {}
        self.samples = []
        self.stopping = False
        self.mutators = {}

    # -- state ---------------------------------------------------------------

    def load(self):
        path = self.out / 'state.json'
        if path.exists():
            return json.loads(path.read_text())
        return {'seconds': 0, 'runs': 0, 'samples': [], 'cov': {}}

    def save(self):
        self.state['seconds'] += time.time() - self.start
        self.state['runs'] += 1
        self.state['cov'] = {t: s.cov for t, s in self.slices.items()}
        self.state['samples'] += self.samples
        (self.out / 'state.json').write_text(json.dumps(self.state))

    # -- preparing -----------------------------------------------------------

    def prepare(self):
        say('building (libFuzzer and all, with ASan and UBSan)')
        self.targets = self.builds.make('asan', self.opts.targets,
                                        also=('vmsh', 'print_c'))
        self.with_afl = build.has_afl() and not self.opts.no_afl
        if self.with_afl:
            say('building (AFL++, afl-clang-fast)')
            good = self.builds.make('afl', self.targets, kinds=('',))
            self.afl_targets = set(self.builds.make('cmplog', good,
                                                    kinds=('',)))
            self.mutators = self.builds.mutators()
        for target in self.targets:
            self.slices[target] = Slice(self.builds, self.out, target)
            self.slices[target].cov = self.state['cov'].get(target, 0)

    def plan(self):
        """(target, engine, seconds, cmplog), in the order they run in."""
        cores, total = self.opts.cores, self.opts.time
        shares = dict(SHARES)
        if not self.with_afl:
            shares['generator'] += shares.pop('afl')
        each = cores * total / len(self.targets)
        smallest = each * min(shares.values()) / 10
        rounds = max(1, min(4, int(smallest // SLICE_MIN)))
        jobs = []
        for n in range(rounds):
            for engine, share in shares.items():
                for target in self.targets:
                    if engine == 'afl' and target not in self.afl_targets:
                        continue
                    jobs.append((target, engine, each * share / 10 / rounds,
                                 n % 2 == 1))
        return jobs

    # -- running -------------------------------------------------------------

    def work(self, jobs, core):
        while not self.stopping:
            try:
                target, engine, seconds, cmplog = jobs.get_nowait()
            except queue.Empty:
                return
            seconds = min(seconds, self.deadline - time.time())
            if seconds < 3:
                return
            s = self.slices[target]
            with self.locks[target]:
                self.running[core] = f'{engine} {target}'
                try:
                    if engine == 'libfuzzer':
                        s.libfuzzer(seconds)
                    elif engine == 'afl':
                        s.aflplusplus(seconds, self.mutators, cmplog)
                    else:
                        s.generator(seconds)
                except OSError as error:
                    s.errors.append(f'{engine}: {error}')
                self.running.pop(core, None)

    def sample(self):
        now = time.time() - self.start
        row = {'t': round(self.state['seconds'] + now, 1)}
        for target, s in self.slices.items():
            row[target] = {'cov': s.cov,
                           'corpus': common.count_files(s.corpus),
                           'findings': common.count_files(s.findings),
                           'rate': s.rate}
        self.samples.append(row)
        return row

    def screen(self, row):
        now = time.time()
        lines = [f'hffuzz: {now - self.start:5.0f} of {self.opts.time} s, '
                 f'{self.opts.cores} cores: '
                 + ', '.join(sorted(self.running.values()))]
        lines.append(f'{"target":14} {"progs/s":>9} {"gen ops/s":>10} '
                     f'{"coverage":>8} {"corpus":>7} {"finds":>5} '
                     f'{"new edge":>9}')
        for target, s in self.slices.items():
            lines.append(
                f'{target:14} {s.rate:9.0f} {s.ops_rate:10.0f} {s.cov:8d} '
                f'{row[target]["corpus"]:7d} {row[target]["findings"]:5d} '
                f'{now - s.last_new:7.0f} s')
        return lines

    def show(self, row, height):
        lines = self.screen(row)
        if sys.stdout.isatty():
            if height:
                sys.stdout.write(f'\x1b[{height}F\x1b[J')
            say('\n'.join(lines))
            return len(lines)
        finds = sum(v['findings'] for v in row.values()
                    if isinstance(v, dict))
        cov = sum(s.cov for s in self.slices.values())
        say(f'{time.time() - self.start:6.0f} s  coverage {cov}, corpus '
            f'{sum(v["corpus"] for v in row.values() if isinstance(v, dict))}'
            f', findings {finds}  [{", ".join(self.running.values())}]')
        return 0

    def run(self):
        jobs = queue.Queue()
        for job in self.plan():
            jobs.put(job)
        self.locks = {t: threading.Lock() for t in self.targets}
        self.deadline = self.start + self.opts.time
        threads = [threading.Thread(target=self.work, args=(jobs, core))
                   for core in range(self.opts.cores)]
        for thread in threads:
            thread.start()
        height, shown = 0, 0.0
        every = SAMPLE if sys.stdout.isatty() else 20
        try:
            while any(t.is_alive() for t in threads):
                time.sleep(0.5)
                if time.time() - shown > every:
                    shown = time.time()
                    height = self.show(self.sample(), height)
                if time.time() > self.deadline + 10:
                    break
        except KeyboardInterrupt:
            say('stopping')
        finally:
            self.stopping = True
            for s in self.slices.values():
                s.stop()
            for thread in threads:
                thread.join()
        self.sample()


def unseen(builds, target, folders):
    """Rare states that the corpus of the campaign never reached."""
    _, text = quiet([builds.binary('asan', 'replay_', target), *folders])
    figures = re.search(r'(\d+) files, (\d+) bad, (\d+) operations', text)
    return (re.findall(r'never seen: (\S+)', text),
            tuple(map(int, figures.groups())) if figures else (0, 0, 0))


def target_report(c, target):
    s = c.slices[target]
    never, (nfiles, bad, nops) = unseen(
        c.builds, target, [s.corpus, *programs(target, 'corpus')])
    mean = nops / nfiles if nfiles else 0.0
    result = {
        'coverage': s.cov, 'features': s.feature,
        'corpus': common.count_files(s.corpus), 'new_edge_s':
            round(time.time() - s.last_new),
        'libfuzzer': {'programs': s.units, 'programs/s': s.rate,
                      'operations/s': round(s.rate * mean)},
        'generator': {'operations': s.ops, 'operations/s': s.ops_rate},
        'never_seen': never, 'errors': s.errors,
        'bad_in_corpus': bad,
    }
    if s.afl:
        result['afl'] = s.afl
    return result


def finish(c):
    result = {'seconds': round(time.time() - c.start),
              'seconds_in_all': round(c.state['seconds']),
              'cores': c.opts.cores, 'targets': {}, 'findings': []}
    for target in c.targets:
        result['targets'][target] = target_report(c, target)
        result['findings'] += triage.triage_target(
            c.builds, target, c.slices[target].findings,
            c.out / target / 'triage')
    for finding in result['findings']:
        triage.print_finding(finding)
    (c.out / 'report.json').write_text(json.dumps(result, indent=1))
    report.write(c.out, result, c.state['samples'])
    report.print_text(result)
    say(f'{len(result["findings"])} findings in {result["seconds"]} s; '
        f'{c.out}/report.html, {c.out}/report.json')
    return 1 if result['findings'] else 0


def run(builds, opts):
    """All engines on all targets for a while; resumes in the same folder."""
    c = Campaign(builds, opts)
    c.prepare()
    c.start = time.time()
    c.run()
    c.save()
    return finish(c)
