#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A campaign with all three engines on the target that always fails ends with
exactly one finding, triaged; --resume goes on; an interrupt leaves no process.

    test_campaign.py BUILD     a build without sanitizers
"""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from fuzz.campaign import build, campaign  # noqa: E402
from fuzz.campaign.common import environment, quiet  # noqa: E402

SOURCES = ['fuzz/canary.c', 'fuzz/entry.c', 'fuzz/target.c', 'fuzz/gen.c',
           'fuzz/file.c', 'arch/machine.c',
           *sorted(str(p.relative_to(ROOT)) for p in
                   (ROOT / 'fuzz/prog').glob('*.c')
                   if not p.name.startswith('backend'))]
FLAGS = ['-O1', '-g', '-w', '-std=gnu17', '-D_GNU_SOURCE', '-I', str(ROOT)]


class Canary(build.Builds):
    """One target: its engines are compiled here, the rest is there."""

    def __init__(self, folder, made):
        super().__init__(folder)
        self.made = pathlib.Path(made).resolve()

    def compile(self):
        extra = {'asan': ['clang', '-fsanitize=fuzzer,address,undefined',
                          'fuzz/mutator_libfuzzer.c'],
                 'afl': ['afl-clang-fast', '-fsanitize=fuzzer']}
        running = [subprocess.Popen(
            [*how, *FLAGS, '-o', str(self.folder / name), *SOURCES],
            cwd=ROOT, env=environment()) for name, how in extra.items()]
        assert [r.wait() for r in running] == [0, 0]
        shutil.copy(self.folder / 'afl', self.folder / 'cmplog')

    def path(self, flavour):
        return self.made

    @staticmethod
    def compiler(flavour):
        return ['cc']

    def table(self, flavour):
        names = {'canary': str(self.folder / flavour),
                 'vmsh': 'tools/vmsh', 'print_c': 'tests/fuzz/system/print_c'}
        for kind in ('generate_', 'replay_', 'minimize_'):
            names[kind + 'canary'] = f'tests/fuzz/{kind}canary'
        return names

    def make(self, flavour, names, kinds=(), also=()):
        return list(names)

    def is_system(self, target):
        return False


def options(out, seconds, resume=False):
    return types.SimpleNamespace(out=str(out), time=seconds, cores=2,
                                 resume=resume, no_afl=False,
                                 targets=['canary'])


def check_plan():
    targets = [f't{n}' for n in range(12)]
    jobs = campaign.plan(targets, targets, 2, 600)
    assert abs(sum(j.weight for j in jobs) - 1) < 1e-9
    for target in targets:
        assert {j.engine for j in jobs if j.target == target} == {
            'libfuzzer', 'afl', 'generator'}
    assert any(j.cmplog for j in jobs if j.engine == 'afl')
    # Too short for AFL++ on all: it takes turns.
    turns = [{j.target for j in campaign.plan(targets, targets, 2, 30, turn)
              if j.engine == 'afl'} for turn in range(4)]
    assert set().union(*turns) == set(targets)
    assert all(len(turn) < 12 for turn in turns)
    # A job gets its part of what is left.
    jobs = campaign.plan(['a'], [], 1, 100)
    seconds = campaign.Line(jobs, 1, time.time() + 100).take(0)[1]
    assert abs(seconds - 100 / len(jobs)) < 1, seconds


def check_finding(out):
    report = json.loads((out / 'report.json').read_text())
    assert len(report['findings']) == 1, report['findings']
    found = report['findings'][0]
    assert found['signature'] == 'canary at find', found
    assert found['failed'] == '3/3'
    assert sum(line.startswith(('insert', 'find'))
               for line in found['program'].splitlines()) == 2
    assert found['c_does'].startswith('compiles; exits with 1'), found
    assert found['regression'].endswith('.hfp')
    target = report['targets']['canary']
    assert target['errors'] == [], target['errors']
    assert target['libfuzzer']['programs'] > 0
    assert target['afl']['programs'] > 0
    text = (out / 'report.html').read_text()
    for word in ('canary at find', '1 finding.', 'C reproducer', '<table>',
                 '<svg', 'Proposed regression file'):
        assert word in text, word
    return report, found


def processes_of(folder):
    """Whoever still works for a campaign in a folder."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/environ'):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [p for p in found if p != os.getpid()]


def check_interrupt(builds, folder):
    """Ctrl-C in the middle: it ends soon, with a report and nothing left."""
    out = folder / 'interrupted'
    child = subprocess.Popen(
        [sys.executable, __file__, builds.made, '--run', builds.folder, out],
        env={**os.environ, 'HOLDFAST_FUZZ_FINDINGS': '100000'})
    for _ in range(600):
        time.sleep(0.1)
        if any((out / 'canary').glob('findings/*')):
            break
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=200) == 1, child.returncode
    assert processes_of(out) == []
    report = json.loads((out / 'report.json').read_text())
    assert report['interrupted'] and report['seconds'] < 550, report


def load_tool():
    """fuzz/hffuzz as a module."""
    loader = importlib.machinery.SourceFileLoader(
        'hffuzz', str(ROOT / 'fuzz/hffuzz'))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader('hffuzz', loader))
    loader.exec_module(module)
    return module


def check_verbs(builds, out, found):
    """The verbs for what a campaign left behind, each by itself."""
    tool = load_tool()
    folder = out.parent

    def verb(*arguments):
        _, opts = tool.parse([str(a) for a in arguments])
        opts.targets = ['canary']
        return opts.function(builds, opts)

    small = folder / 'small'
    assert verb('min', '--output', small, found['file']) == 0
    code, _ = quiet([builds.binary('asan', 'replay_', 'canary'), small])
    assert code == 1
    assert verb('triage', '--output', folder / 'triaged', small) == 0
    assert list((folder / 'triaged').glob('*.hfp'))
    (out / 'report.html').unlink()
    assert verb('report', '--out', out) == 0
    assert 'canary at find' in (out / 'report.html').read_text()
    assert verb('replay') == 0  # there are no programs
    check_merge(verb, out, folder)
    _, opts = tool.parse(['exhaust', '-t', '60', '-d', '2'])
    assert opts.arguments == ['-t', '60', '-d', '2']


def check_merge(verb, out, folder):
    """What was kept comes together, and goes to the store; nothing is added
    by doing so again."""
    corpus, store = folder / 'corpus', folder / 'store'
    kept = out / 'canary/corpus'
    (kept / 'tail').write_bytes(bytes(32))
    assert verb('merge', '--out', out, '--corpus', corpus, '--store', store,
                '--machine', 'here') == 0
    programs = {p.name for p in (corpus / 'canary').iterdir()}
    assert programs and all(len(name) == 40 for name in programs)
    stored = {p.name for p in (store / 'here/canary').iterdir()}
    assert len(stored) >= len(programs)
    assert verb('merge', '--out', out, '--corpus', corpus, '--store', store,
                '--machine', 'here') == 0
    assert {p.name for p in (store / 'here/canary').iterdir()} == stored
    assert any((corpus / 'canary').iterdir())


def main():
    made = sys.argv[1]
    if sys.argv[2:3] == ['--run']:
        return campaign.run(Canary(sys.argv[3], made),
                            options(pathlib.Path(sys.argv[4]), 600))
    check_plan()
    if not (build.has_afl() and shutil.which('clang')):
        print('no AFL++ or no clang')
        return 77
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        builds = Canary(folder, made)
        builds.compile()
        out = folder / 'out'
        assert campaign.run(builds, options(out, 6)) == 1
        first, found = check_finding(out)
        code, _ = quiet([builds.binary('asan', 'replay_', 'canary'),
                         found['regression']])
        assert code == 1
        assert campaign.run(builds, options(out, 2, resume=True)) == 1
        second, found = check_finding(out)
        assert second['runs'] == 2 > first['runs']
        assert second['operations'] >= first['operations']
        check_verbs(builds, out, found)
        check_interrupt(builds, folder)
    print('one finding, gone on with, and interrupted')
    return 0


if __name__ == '__main__':
    sys.exit(main())
