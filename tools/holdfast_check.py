#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Build each configuration, run its tests, and add up the results.

The configurations stand in BUILDS and TABLE.  The last line is "N passed, N
failed, N skipped"; before it, one line for each test that failed or was
skipped.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# name, compiler, meson options, test arguments
BUILDS = [
    ('gcc', 'gcc', ['-Dinvariants=2', '-Dwerror=true'], []),
    ('clang-asan-ubsan', 'clang',
     ['-Dinvariants=2', '-Dwerror=true', '-Db_sanitize=address,undefined',
      '-Db_lundef=false', '-Dbench=false'],
     ['--no-suite', 'lint', '--timeout-multiplier', '3']),
    ('clang-tsan', 'clang',
     ['-Dinvariants=2', '-Db_sanitize=thread', '-Db_lundef=false',
      '-Dbench=false', '-Ddpdk=disabled'],
     ['--suite', 'tsan', '--timeout-multiplier', '5']),
    # Libraries know nothing of MemorySanitizer: only what links none of them.
    ('clang-msan', 'clang',
     ['-Dinvariants=2', '-Db_sanitize=memory', '-Db_lundef=false',
      '-Dbench=false', '-Ddpdk=disabled'],
     ['--suite', 'msan', '--timeout-multiplier', '5']),
    # The others are optimised; all of them have to answer alike.
    ('gcc-O0', 'gcc',
     ['-Dinvariants=2', '-Doptimization=0', '-Dbench=false',
      '-Ddpdk=disabled'],
     ['--suite', 'msan', '--timeout-multiplier', '5']),
]


# A million allocations again and again: without a checker after each edit.
TABLE = ('gcc-table', 'gcc', ['-Dinvariants=1', '-Ddpdk=disabled'],
         ['--suite', 'table'])

# Suites that are built alone.
ALONE = ('msan', 'table')


def run(command, **kwargs):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL,
                          **kwargs).returncode


def configure(build, compiler, options):
    """Configure or refresh one build folder."""
    env = dict(os.environ, CC=compiler)
    command = ['meson', 'setup', str(build), *options]
    if (ROOT / build / 'build.ninja').exists():
        command.insert(2, '--reconfigure')
    log = subprocess.run(command, cwd=ROOT, env=env, text=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
    if log.returncode != 0:
        print(log.stdout)
    return log.returncode == 0


def results(build):
    """The (name, result) pairs of the last test run of a folder."""
    path = ROOT / build / 'meson-logs' / 'testlog.json'
    for line in path.read_text(errors='replace').splitlines():
        record = json.loads(line)
        yield record['name'], record['result'], record.get('stdout', '')


def reason(stdout):
    for line in stdout.splitlines():
        if 'skipped:' in line:
            return line.split('skipped:', 1)[1].strip()
    return ''


def programs(build, suite):
    """The programs, as ninja names them, that the tests of a suite run."""
    tests = json.loads(subprocess.run(
        ['meson', 'introspect', '--tests', str(build)], cwd=ROOT, check=True,
        stdout=subprocess.PIPE).stdout)
    root = str(ROOT / build) + '/'
    return sorted({test['cmd'][0][len(root):] for test in tests
                   if any(s.endswith(':' + suite) for s in test['suite'])
                   and test['cmd'][0].startswith(root)})


def compile_build(build, arguments):
    """All of it; of a suite that is built alone only what it runs."""
    only = [program for suite in ALONE if suite in arguments
            for program in programs(build, suite)]
    return run(['ninja', '-C', str(build), '--quiet', *only]) == 0


def check_build(name, compiler, options, arguments, count):
    build = pathlib.Path('build-check-' + name)
    print(f'== {name}: build', flush=True)
    if not configure(build, compiler, options) \
            or not compile_build(build, arguments):
        count['failed'] += 1
        print(f'failed   {name}: does not build')
        return
    print(f'== {name}: test', flush=True)
    log = ROOT / build / 'meson-logs' / 'testlog.json'
    log.unlink(missing_ok=True)
    run(['meson', 'test', '-C', str(build), '--no-rebuild',
         '--print-errorlogs', *arguments])
    if not log.exists():
        count['failed'] += 1
        print(f'failed   {name}: no test ran')
        return
    for test, result, stdout in results(build):
        if result == 'OK':
            count['passed'] += 1
        elif result == 'SKIP':
            count['skipped'] += 1
            print(f'skipped  {name}: {test}: {reason(stdout)}')
        else:
            count['failed'] += 1
            print(f'failed   {name}: {test}: {result}')


def check_same(count):
    """Compilers and sanitizers must not change what a program is answered."""
    print('== the same answers from every build', flush=True)
    builds = [f'build-check-{name}' for name, *_ in BUILDS]
    good = run([sys.executable, 'tests/fuzz/same_hash.py', *builds]) == 0
    count['passed' if good else 'failed'] += 1
    if not good:
        print('failed   builds answer differently')


def check_demo(count):
    """Twice: the second run starts from what the first one left."""
    for turn in ('first', 'second'):
        print(f'== demo, {turn} run', flush=True)
        rv = run([str(ROOT / 'demo')])
        key = {0: 'passed', 77: 'skipped'}.get(rv, 'failed')
        count[key] += 1
        print(f'{key:8} demo, {turn} run')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--quick', action='store_true',
                        help='the first configuration only')
    arguments = parser.parse_args()
    began = time.monotonic()
    # The same random tests every time, so that a failure is about the change;
    # new seeds are for campaigns: HOLDFAST_SEED=$RANDOM ./check
    os.environ.setdefault('HOLDFAST_SEED', '20261122')
    print(f"seed {os.environ['HOLDFAST_SEED']}")
    count = {'passed': 0, 'failed': 0, 'skipped': 0}
    for build in BUILDS[:1] if arguments.quick else [*BUILDS, TABLE]:
        check_build(*build, count)
    if not arguments.quick:
        check_same(count)
        check_demo(count)
    print(f'took {time.monotonic() - began:.0f} s')
    print('{passed} passed, {failed} failed, {skipped} skipped'
          .format(**count))
    return 1 if count['failed'] or not count['passed'] else 0


if __name__ == '__main__':
    sys.exit(main())
