# SPDX-License-Identifier: BSD-2-Clause
"""One engine on one target for one slice of time."""

import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from . import build, common
from .common import environment

MAX_LEN = 2048
FINDINGS_MAX = 24  # of one target: more of the same helps nobody


def program_hash(path):
    return hashlib.sha1(pathlib.Path(path).read_bytes()).hexdigest()


class Slice:
    """Files of a target: corpus/, seeds/, findings/, logs."""

    def __init__(self, builds, out, target):
        self.builds, self.target = builds, target
        self.folder = pathlib.Path(out) / target
        self.corpus = self.folder / 'corpus'
        self.findings = self.folder / 'findings'
        self.seeds = self.folder / 'seeds'
        for path in (self.corpus, self.findings):
            path.mkdir(parents=True, exist_ok=True)
        build.assemble_seeds(builds, target, self.seeds)
        self.units = self.cov = self.feature = 0
        self.rate = 0.0
        self.ops = 0       # operations of the generator
        self.ops_rate = 0.0
        self.ops_seconds = 0.0
        self.afl = {}
        self.last_new = time.time()
        self.child = None
        self.errors = []

    def pool(self):
        """Every folder with programs to begin with."""
        return [self.corpus, self.seeds,
                *common.programs(self.target, 'corpus')]

    def note_cov(self, cov):
        if cov > self.cov:
            self.cov = cov
            self.last_new = time.time()

    def full(self):
        return common.count_files(self.findings) >= FINDINGS_MAX

    def stop(self):
        child = self.child
        if child is None or child.poll() is not None:
            return
        try:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(timeout=5)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()

    def spawn(self, args, env):
        self.child = subprocess.Popen(
            [str(a) for a in args], env=env, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            errors='replace')
        return self.child

    # -- libFuzzer -----------------------------------------------------------

    def libfuzzer(self, seconds, flavour='asan'):
        end = time.time() + seconds
        base = self.units
        while time.time() < end - 1 and not self.full():
            left = int(end - time.time())
            child = self.spawn(
                [self.builds.binary(flavour, '', self.target),
                 f'-max_total_time={left}', f'-max_len={MAX_LEN}',
                 '-reload=1', '-print_final_stats=1', '-timeout=10',
                 '-rss_limit_mb=2048', f'-artifact_prefix={self.findings}/lf-',
                 *self.pool()], environment())
            done = 0
            for line in child.stdout:
                found = re.match(
                    r'#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+).*?'
                    r'exec/s: (\d+)', line)
                if not found:
                    continue
                done, cov, ft, rate = map(int, found.groups())
                self.units, self.feature = base + done, ft
                self.note_cov(cov)
                if rate:
                    self.rate = float(rate)
            base += done
            if child.wait() == 0:
                break

    # -- the generator -------------------------------------------------------

    def generator(self, seconds, flavour='asan'):
        end = time.time() + seconds
        while time.time() < end - 1 and not self.full():
            left = int(end - time.time())
            start = time.time()
            child = self.spawn(
                [self.builds.binary(flavour, 'generate_', self.target), '-t',
                 left, '-o', self.findings], environment())
            text, _ = child.communicate()
            spent = time.time() - start
            found = re.search(r'(\d+) operations.*?: (\d+) operations/s', text)
            if found:
                self.ops += int(found.group(1))
                self.ops_rate = float(found.group(2))
                self.ops_seconds += spent

    # -- AFL++ ---------------------------------------------------------------

    def afl_start(self):
        """Hand over by folder: AFL's own exchange is too slow for a slice."""
        start = self.folder / 'afl-in'
        shutil.rmtree(start, ignore_errors=True)
        start.mkdir()
        for folder in self.pool():
            for path in folder.iterdir():
                if path.is_file() and path.stat().st_size <= MAX_LEN:
                    shutil.copy(path, start / path.name[:64])
        return start

    def aflplusplus(self, seconds, mutators, cmplog=False):
        out = self.folder / 'afl'
        shutil.rmtree(out, ignore_errors=True)
        args = ['afl-fuzz', '-i', self.afl_start(), '-o', out, '-V',
                max(5, int(seconds) - 2), '-t', '1000+', '-g', '16', '-G',
                MAX_LEN]
        if cmplog:
            args += ['-c', self.builds.binary('cmplog', '', self.target),
                     '-l', '2']
        child = self.spawn(
            [*args, '--', self.builds.binary('afl', '', self.target)],
            build.afl_env(self.builds, mutators, self.target))
        text, _ = child.communicate()
        stats = out / 'default/fuzzer_stats'
        if not stats.exists():
            self.errors.append('AFL++ did not start: ' + text[-300:])
            return
        self.afl = read_stats(stats)
        self.take_afl(out)

    def take_afl(self, out):
        have = {p.name for p in self.corpus.iterdir()}
        for path in (out / 'default/queue').glob('id*'):
            name = program_hash(path)
            if name not in have and ',orig:' not in path.name:
                shutil.copy(path, self.corpus / name)
        for path in (out / 'default/crashes').glob('id*'):
            shutil.copy(path, self.findings
                        / ('afl-' + program_hash(path)[:16]))


def read_stats(path):
    values = {}
    for line in pathlib.Path(path).read_text().splitlines():
        key, _, value = line.partition(':')
        values[key.strip()] = value.strip()
    return {'programs': int(values['execs_done']),
            'programs/s': float(values['execs_per_sec']),
            'stability': values['stability'],
            'edges': int(values['edges_found'])}
