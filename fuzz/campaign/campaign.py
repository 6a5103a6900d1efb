# SPDX-License-Identifier: BSD-2-Clause
"""A campaign: every engine on every target for a while, on some cores.

The time is cut into slices, one engine on one target each; a thread a core
takes slices from a list.  Programs that an engine kept lie in the target's
corpus folder when the next one begins, so engines exchange at every slice.
State is kept in the folder of the campaign; --resume goes on there.
"""

import collections
import json
import pathlib
import sys
import threading
import time

from . import build, common, report, triage
from .common import say
from .engines import ENGINES, Target

SHARES = {'libfuzzer': 5, 'afl': 3, 'generator': 2}  # of ten
SLICE_MIN = 8   # seconds: in less an engine does little but start
AFL_MIN = 5     # AFL++ runs its whole corpus before it begins
ROUNDS_MAX = 6
SAMPLE = 2

Job = collections.namedtuple('Job', 'target engine weight cmplog')


def plan(targets, afl_targets, cores, seconds, turn=0):
    """Jobs in the order in which they run.  `weight` is what part of all core
    seconds a job is meant to have.  Where there is too little time for AFL++
    on every target it takes turns; `turn` says whose it is."""
    shares = dict(SHARES)
    afl = [t for t in targets if t in afl_targets]
    if not afl:
        shares['generator'] += shares.pop('afl')
    else:
        room = int(cores * seconds * shares['afl'] / 10 / AFL_MIN)
        at = turn * max(1, room) % len(afl)
        afl = (afl[at:] + afl[:at])[:max(1, room)]
    each = cores * seconds / len(targets)
    rounds = int(each * min(shares.values()) / 10 // SLICE_MIN)
    rounds = max(1, min(ROUNDS_MAX, rounds))
    jobs = []
    for n in range(rounds):
        for engine, share in shares.items():
            names = afl if engine == 'afl' else targets
            jobs += [Job(t, engine, share / 10 / len(names) / rounds,
                         n % 2 == 1)
                     for t in names]
    return jobs


class Line:
    """Jobs that wait, and what is left of the time for each."""

    def __init__(self, jobs, cores, deadline):
        self.jobs = collections.deque(jobs)
        self.weight = sum(j.weight for j in jobs)
        self.cores, self.deadline = cores, deadline
        self.ends = {}  # when what runs will be over
        self.lock = threading.Lock()

    def take(self, core):
        """(job, seconds), or None: nothing more to do."""
        with self.lock:
            now = time.time()
            left = self.deadline - now
            if not self.jobs or left < 1:
                return None
            job = self.jobs.popleft()
            running = sum(max(0, end - now) for c, end in self.ends.items()
                          if c != core)
            room = max(0, self.cores * left - running)
            seconds = room * job.weight / self.weight if self.weight else left
            self.weight -= job.weight
            seconds = max(2, min(seconds, left))
            self.ends[core] = now + seconds
            return job, seconds

    def leave(self, core):
        with self.lock:
            self.ends.pop(core, None)


class Campaign:
    def __init__(self, builds, opts):
        self.builds, self.opts = builds, opts
        self.out = pathlib.Path(opts.out).resolve()
        if not opts.resume:
            put_aside(self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.state = self.load()
        self.slices = {}
        self.running = {}
        self.samples = []
        self.spent = 0.0
        self.building = 0.0
        self.mutators = {}
        self.interrupted = False

    # -- state ---------------------------------------------------------------

    def load(self):
        path = self.out / 'state.json'
        if path.exists():
            return json.loads(path.read_text())
        return {'seconds': 0, 'runs': 0, 'samples': [], 'targets': {}}

    def save(self):
        self.state['seconds'] += self.spent
        self.state['runs'] += 1
        for name, s in self.slices.items():
            self.state['targets'][name] = {
                'cov': s.cov, 'feature': s.feature, 'afl': s.afl,
                'seconds': {e: c.seconds for e, c in s.counts.items()}}
        self.state['samples'] += self.samples
        (self.out / 'state.json').write_text(json.dumps(self.state))

    def recall(self, s):
        """What earlier runs in the folder knew of a target."""
        old = self.state['targets'].get(s.name)
        if old is None:
            return
        s.cov, s.feature, s.afl = old['cov'], old['feature'], old['afl']
        for engine, seconds in old['seconds'].items():
            s.counts[engine].seconds = seconds

    # -- preparing -----------------------------------------------------------

    def prepare(self):
        start = time.time()
        say('building (libFuzzer and all, with ASan and UBSan)')
        self.targets = self.builds.make('asan', self.opts.targets,
                                        also=('vmsh', 'print_c'))
        self.afl_targets = []
        if build.has_afl() and not self.opts.no_afl:
            say('building (AFL++, afl-clang-fast, and with cmplog)')
            good = self.builds.make('afl', self.targets, kinds=('',))
            self.afl_targets = self.builds.make('cmplog', good, kinds=('',))
            self.mutators = self.builds.mutators()
        for target in self.targets:
            self.slices[target] = Target(self.builds, self.out, target)
            self.recall(self.slices[target])
        self.building = time.time() - start
        say(f'built in {self.building:.0f} s')

    # -- running -------------------------------------------------------------

    def one(self, job, seconds):
        s = self.slices[job.target]
        if job.engine == 'libfuzzer':
            s.libfuzzer(seconds)
        elif job.engine == 'afl':
            s.aflplusplus(seconds, self.mutators, job.cmplog)
        else:
            s.generator(seconds)

    def work(self, line, core):
        while True:
            taken = line.take(core)
            if taken is None or self.interrupted:
                return
            job, seconds = taken
            self.running[core] = f'{job.engine} {job.target}'
            self.one(job, seconds)
            line.leave(core)
            self.running.pop(core, None)

    def sample(self):
        row = {'t': round(self.state['seconds'] + time.time() - self.start, 1)}
        for name, s in self.slices.items():
            totals = [c.read() for c in s.counts.values()]
            row[name] = {'cov': s.cov,
                         'corpus': common.count_files(s.corpus),
                         'findings': common.count_files(s.findings),
                         'programs': sum(t[0] for t in totals),
                         'operations': sum(t[1] for t in totals)}
        self.samples.append(row)
        return row

    def show(self, row, before, height):
        rows = screen(self, row, before)
        if sys.stdout.isatty():
            if height:
                sys.stdout.write(f'\x1b[{height}F\x1b[J')
            say('\n'.join(rows))
            return len(rows)
        say(rows[0] + '; ' + rows[-1])
        return 0

    def watch(self, threads):
        height, shown, before = 0, time.time(), self.sample()
        row, taken = before, shown
        every = SAMPLE if sys.stdout.isatty() else 20
        while any(t.is_alive() for t in threads):
            time.sleep(0.2)
            if time.time() - taken >= SAMPLE:
                taken, row = time.time(), self.sample()
            if time.time() - shown >= every:
                shown = time.time()
                height = self.show(row, before, height)
                before = row

    def run(self):
        jobs = plan(self.targets, self.afl_targets, self.opts.cores,
                    self.opts.time, self.state['runs'])
        self.start = time.time()
        for s in self.slices.values():
            s.last_new = self.start
        say(f'{self.opts.time} s on {common.number(self.opts.cores, "core")}: '
            f'{len(jobs)} slices on '
            f'{common.number(len(self.targets), "target")}')
        line = Line(jobs, self.opts.cores, self.start + self.opts.time)
        threads = [threading.Thread(target=self.work, args=(line, core))
                   for core in range(self.opts.cores)]
        for thread in threads:
            thread.start()
        try:
            self.watch(threads)
        except KeyboardInterrupt:
            say('\ninterrupted: stopping the engines')
            self.interrupted = True
        for s in self.slices.values():
            s.stop()
        for thread in threads:
            thread.join()
        self.spent = time.time() - self.start
        self.sample()


def put_aside(out):
    """A campaign that is not gone on with makes room for the new one."""
    if not (out / 'state.json').exists():
        return
    n = 1
    while out.with_name(f'{out.name}.{n}').exists():
        n += 1
    out.rename(out.with_name(f'{out.name}.{n}'))
    say(f'the campaign that was in {out} is now in {out.name}.{n} '
        '(--resume goes on instead)')


HEAD = (f'{"target":14} {"programs/s":>10} {"operations/s":>12} '
        f'{"edges":>7} {"corpus":>7} {"finds":>5} {"last new edge":>13}')


def screen(c, row, before):
    """The lines of the one screen; the first and the last say it in short."""
    now, gap = time.time(), max(0.1, row['t'] - before['t'])
    names = list(c.slices)
    rate = {key: {n: (row[n][key] - before[n][key]) / gap for n in names}
            for key in ('programs', 'operations')}
    rows = [f'{now - c.start:5.0f} of {c.opts.time} s: '
            + (', '.join(c.running[k] for k in sorted(c.running)) or 'done')]
    rows.append(HEAD)
    for name, s in c.slices.items():
        rows.append(
            f'{name:14} {rate["programs"][name]:10,.0f} '
            f'{rate["operations"][name]:12,.0f} {s.cov:7d} '
            f'{row[name]["corpus"]:7d} {row[name]["findings"]:5d} '
            f'{now - s.last_new:11.0f} s')
    rows.append(
        f'{sum(rate["operations"].values()):,.0f} operations/s, '
        f'{sum(s.cov for s in c.slices.values())} edges, corpus '
        f'{sum(row[n]["corpus"] for n in names)}, '
        f'{sum(row[n]["findings"] for n in names)} findings, last new edge '
        f'{now - max(s.last_new for s in c.slices.values()):.0f} s ago')
    return rows


def never_seen(s):
    """Required rare states that nothing in the campaign has reached."""
    code, text = common.quiet(
        [s.builds.binary('asan', 'generate_', s.name), '-l'])
    seen = 0
    for count in s.counts.values():
        seen |= count.read()[3]
    return [] if code != 0 else [
        line.split()[1] for line in text.splitlines()
        if line and not seen >> int(line.split()[0]) & 1]


def target_report(c, s):
    result = {'coverage': s.cov, 'features': s.feature,
              'corpus': common.count_files(s.corpus),
              'new_edge_s': round(c.start + c.spent - s.last_new),
              'never_seen': never_seen(s), 'errors': s.errors}
    for engine in ENGINES:
        programs, prate, operations, orate = s.counts[engine].rates()
        result[engine] = {'programs': programs, 'programs/s': round(prate),
                          'operations': operations,
                          'operations/s': round(orate),
                          'seconds': round(s.counts[engine].seconds, 1)}
    result['afl'].update(s.afl)
    return result


def finish(c):
    """Triage and report; 0: nothing was found."""
    result = {'seconds': round(c.spent), 'building_s': round(c.building),
              'seconds_in_all': round(c.state['seconds']),
              'runs': c.state['runs'], 'cores': c.opts.cores,
              'interrupted': c.interrupted,
              'date': time.strftime('%Y-%m-%d %H:%M'),
              'load': round(common.load(), 1), 'targets': {},
              'findings': [], 'not_reproduced': 0}
    for name, s in c.slices.items():
        result['targets'][name] = target_report(c, s)
        found, hung = triage.triage_target(c.builds, name, s.findings,
                                           c.out / name / 'triage')
        result['findings'] += found
        result['not_reproduced'] += hung
    result['operations'] = sum(
        t[e]['operations'] for t in result['targets'].values()
        for e in ENGINES)
    for finding in result['findings']:
        triage.print_finding(finding)
    (c.out / 'report.json').write_text(json.dumps(result, indent=1))
    report.write(c.out, result, c.state['samples'])
    report.print_text(result)
    return 1 if result['findings'] else 0


def run(builds, opts):
    """All engines on all targets for a while; then triage and a report."""
    c = Campaign(builds, opts)
    c.prepare()
    if not c.targets:
        say('nothing builds')
        return 2
    c.run()
    c.save()
    status = finish(c)
    say(f'{c.out}/report.html, {c.out}/report.json')
    return 130 if c.interrupted and status == 0 else status
