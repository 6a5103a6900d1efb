# SPDX-License-Identifier: BSD-2-Clause
"""One target's part of a campaign: its folders, its figures, and the three
engines, each for one slice of time.  Slices may run at the same time."""

import hashlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import threading
import time

from . import build, common
from .common import environment

ENGINES = ('libfuzzer', 'afl', 'generator')
MAX_LEN = 2048
FINDINGS_MAX = int(os.environ.get('HOLDFAST_FUZZ_FINDINGS', 24))  # of one target: more of the same helps nobody
GRACE = 8          # seconds an engine may take to end by itself


def program_hash(path):
    return hashlib.sha1(pathlib.Path(path).read_bytes()).hexdigest()


def guarded():
    """What makes a child end with us, however we end."""
    tool = shutil.which('setpriv')
    return [tool, '--pdeathsig', 'TERM'] if tool else []


class Count:
    """What an engine has done on a target (fuzz_count() in fuzz/target.h)."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not self.path.exists():
            self.path.write_bytes(bytes(32))
        self.seconds = 0.0    # that the engine had, those of earlier runs too
        self.since = {}       # when each slice that runs now began

    def read(self):
        """(programs, operations, comparisons, states seen)"""
        return struct.unpack('4Q', self.path.read_bytes()[:32])

    def spent(self):
        now = time.time()
        return self.seconds + sum(now - t for t in self.since.values())

    def rates(self):
        """(programs, programs/s, operations, operations/s)"""
        programs, operations, _, _ = self.read()
        seconds = self.spent()
        if seconds < 0.5:
            return programs, 0.0, operations, 0.0
        return (programs, programs / seconds, operations,
                operations / seconds)


class Target:
    """Files of a target: corpus/, seeds/, findings/, count-ENGINE."""

    def __init__(self, builds, out, name):
        self.builds, self.name = builds, name
        self.folder = pathlib.Path(out) / name
        self.corpus = self.folder / 'corpus'
        self.findings = self.folder / 'findings'
        self.seeds = self.folder / 'seeds'
        for path in (self.corpus, self.findings):
            path.mkdir(parents=True, exist_ok=True)
        build.assemble_seeds(builds, name, self.seeds)
        self.counts = {e: Count(self.folder / f'count-{e}') for e in ENGINES}
        self.cov = self.feature = 0
        self.afl = {}
        self.last_new = time.time()
        self.errors = []
        self.children = set()
        self.stopping = False
        self.lock = threading.Lock()
        self.numbers = itertools.count()

    def pool(self):
        """Every folder with programs to begin with."""
        return [self.corpus, self.seeds,
                *common.programs(self.name, 'corpus')]

    def note_cov(self, cov):
        if cov > self.cov:
            self.cov = cov
            self.last_new = time.time()

    def full(self):
        return common.count_files(self.findings) >= FINDINGS_MAX

    # -- children ------------------------------------------------------------

    def stop(self):
        """End what runs, and start nothing more."""
        with self.lock:
            self.stopping = True
            children = list(self.children)
        for child in children:
            end_group(child, signal.SIGTERM)

    def spawn(self, args, env):
        with self.lock:
            if self.stopping:
                return None
            child = subprocess.Popen(
                [*guarded(), *[str(a) for a in args]], env=env,
                start_new_session=True, text=True, errors='replace',
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.children.add(child)
            return child

    def call(self, args, env, seconds, line_seen=None):
        """Run an engine; (exit code, the end of what it said).  One that does
        not end in its time is made to."""
        child = self.spawn(args, env)
        if child is None:
            return -1, ''
        timers = [threading.Timer(seconds + GRACE, end_group,
                                  (child, signal.SIGTERM)),
                  threading.Timer(seconds + 2 * GRACE, end_group,
                                  (child, signal.SIGKILL))]
        for timer in timers:
            timer.start()
        last = []
        for line in child.stdout:
            last = last[-40:] + [line]
            if line_seen is not None:
                line_seen(line)
        code = child.wait()
        for timer in timers:
            timer.cancel()
        end_group(child, signal.SIGKILL)  # whatever it has left behind
        with self.lock:
            self.children.discard(child)
        return code, ''.join(last)

    def timed(self, engine, seconds, function):
        """Run a slice and note how long it took."""
        count, key = self.counts[engine], next(self.numbers)
        count.since[key] = time.time()
        try:
            function(time.time() + seconds)
        except (OSError, ValueError, LookupError) as error:
            self.errors.append(f'{engine}: {error!r}')
        finally:
            count.seconds += time.time() - count.since.pop(key)

    def env(self, engine, **more):
        return environment(HOLDFAST_FUZZ_COUNT=str(self.counts[engine].path),
                           **more)

    def going(self, end):
        return not self.stopping and not self.full() and time.time() < end - 1

    # -- libFuzzer -----------------------------------------------------------

    def note_line(self, line):
        found = re.match(r'#\d+\s+\w+\s+cov: (\d+) ft: (\d+)', line)
        if found:
            self.feature = int(found.group(2))
            self.note_cov(int(found.group(1)))

    def libfuzzer(self, seconds, flavour='asan'):
        self.timed('libfuzzer', seconds,
                   lambda end: self.libfuzzer_until(end, flavour))

    def libfuzzer_until(self, end, flavour):
        while self.going(end):
            left = max(1, int(end - time.time()))
            code, text = self.call(
                [self.builds.binary(flavour, '', self.name),
                 f'-max_total_time={left}', f'-max_len={MAX_LEN}',
                 '-reload=1', '-print_final_stats=1', '-timeout=20',
                 '-rss_limit_mb=2048', f'-artifact_prefix={self.findings}/lf-',
                 *self.pool()], self.env('libfuzzer'), left, self.note_line)
            if code == 0 or self.stopping:
                return
            if 'Test unit written' not in text:
                self.errors.append(f'libFuzzer ended with {code}: '
                                   + text[-300:])
                return

    # -- the generator -------------------------------------------------------

    def generator(self, seconds, flavour='asan'):
        self.timed('generator', seconds,
                   lambda end: self.generator_until(end, flavour))

    def generator_until(self, end, flavour):
        while self.going(end):
            left = max(1, int(end - time.time()))
            code, text = self.call(
                [self.builds.binary(flavour, 'generate_', self.name), '-t',
                 left, '-o', self.findings], self.env('generator'), left)
            if code == 0 or self.stopping:
                return
            if 'written to' not in text:
                self.errors.append(f'generator ended with {code}: '
                                   + text[-300:])
                return

    # -- AFL++ ---------------------------------------------------------------

    def afl_start(self, folder):
        """Hand over by folder: AFL's own exchange is too slow for a slice."""
        folder.mkdir()
        for source in self.pool():
            for path in source.iterdir():
                if path.is_file() and path.stat().st_size <= MAX_LEN:
                    shutil.copy(path, folder / path.name[:64])
        return folder

    def aflplusplus(self, seconds, mutators, cmplog=False):
        self.timed('afl', seconds,
                   lambda end: self.afl_until(end, mutators, cmplog))

    def afl_until(self, end, mutators, cmplog):
        work = self.folder / f'afl-{os.getpid()}-{next(self.numbers)}'
        work.mkdir()
        try:
            self.afl_slice(work, end, mutators, cmplog)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def afl_slice(self, work, end, mutators, cmplog):
        start, out = self.afl_start(work / 'in'), work / 'out'
        left = max(2, int(end - time.time()))
        args = ['afl-fuzz', '-i', start, '-o', out, '-V', left, '-t', '1000+',
                '-g', '16', '-G', MAX_LEN]
        if cmplog:
            args += ['-c', self.builds.binary('cmplog', '', self.name), '-l',
                     '2']
        _, text = self.call(
            [*args, '--', self.builds.binary('afl', '', self.name)],
            {**build.afl_env(self.builds, mutators, self.name),
             **self.env('afl')}, left)
        stats = out / 'default/fuzzer_stats'
        if stats.exists():
            self.note_afl(read_stats(stats))
        elif not self.stopping:
            self.errors.append('AFL++ did not start: ' + text[-300:])
        self.take_afl(out)

    def note_afl(self, now):
        """The best of all slices; of stability the worst."""
        old = self.afl or now
        if now['edges'] > old['edges']:
            self.last_new = time.time()
        self.afl = {'programs/s': max(old['programs/s'], now['programs/s']),
                    'stability': min(old['stability'], now['stability']),
                    'edges': max(old['edges'], now['edges'])}

    def take_afl(self, out):
        have = {p.name for p in self.corpus.iterdir()}
        for path in (out / 'default/queue').glob('id*'):
            name = program_hash(path)
            if name not in have and ',orig:' not in path.name:
                shutil.copy(path, self.corpus / name)
        for path in (out / 'default/crashes').glob('id*'):
            shutil.copy(path, self.findings
                        / ('afl-' + program_hash(path)[:16]))
        for path in (out / 'default/hangs').glob('id*'):
            shutil.copy(path, self.findings
                        / ('afl-hang-' + program_hash(path)[:16]))


def end_group(child, how):
    """Signal a child's whole session, if there is anything left of it."""
    try:
        os.killpg(child.pid, how)
    except (ProcessLookupError, PermissionError):
        pass


def read_stats(path):
    values = {}
    for line in pathlib.Path(path).read_text().splitlines():
        key, _, value = line.partition(':')
        values[key.strip()] = value.strip()
    seconds = int(values['last_update']) - int(values['start_time'])
    return {'programs/s': int(values['execs_done']) / max(1, seconds),
            'stability': float(values['stability'].rstrip('%')),
            'edges': int(values['edges_found'])}
