# SPDX-License-Identifier: BSD-2-Clause
"""From a file that fails to a finding: signature, small program, C, a file
for fuzz/regressions."""

import pathlib
import re
import shutil
import subprocess

from . import common, creproducer
from .common import environment, quiet, say

FRAMES = 3
SYMBOLS = common.ENV['ASAN_OPTIONS'].replace('symbolize=0', 'symbolize=1')


def project_frames(text):
    """The topmost frames in our own sources of a sanitizer's stack."""
    found = re.findall(r'#\d+ 0x\w+ in (\w+) (\S+?):\d+', text)
    ours = [name for name, path in found
            if re.search(r'/(core|arch|server|proto|clients)/', path)]
    return ours[:FRAMES]


def replays(builds, target, path, times=3):
    """How often of `times` it fails without any engine, and what it said."""
    text, failed = '', 0
    for _ in range(times):
        try:
            code, now = quiet(
                [builds.binary('asan', 'replay_', target), path], timeout=60,
                env=environment(ASAN_OPTIONS=SYMBOLS))
        except subprocess.TimeoutExpired:
            code, now = -1, 'FINDING it: hang at end'
        failed += code != 0
        text = now if code != 0 else text
    return failed, text


def signature_of(text, fallback):
    """Oracle and operation, or the sanitizer's class and our top frames."""
    found = re.search(r'FINDING \w+: (\w+) at (\w+)', text)
    frames = project_frames(text)
    kind = re.search(r'ERROR: \w+: ([\w-]+)|runtime error: ([^\n(]+)', text)
    if kind:
        what = (kind.group(1) or kind.group(2)).strip()
        return f'{what} in {" < ".join(frames) or "?"}'
    panic = re.search(r'panic: ([^\n]*)|assertion ([^\n]*)', text)
    if found and found.group(1) != 'abort':
        return f'{found.group(1)} at {found.group(2)}'
    if panic:
        return 'abort: ' + re.sub(r'\d+', '0', panic.group(0))[:120]
    return fallback


def minimized(builds, target, path, out, seconds=30):
    """(signature, text) of the small program, which goes to `out`."""
    code, text = quiet([builds.binary('asan', 'minimize_', target), '-t',
                        seconds, '-o', out, path])
    if code != 0 or not out.exists():
        return None
    lines = text.splitlines()
    heads = [line for line in lines if line.startswith('# ' + target)]
    at = lines.index(heads[0]) if heads else 0
    return (heads[0].removeprefix(f'# {target}: ') if heads else '?',
            '\n'.join(lines[at + 1:]))


def look(builds, target, path):
    """What a file does: (how often of three it fails, signature)."""
    failed, text = replays(builds, target, path)
    if failed == 0:
        return failed, 'not reproduced'
    signature = signature_of(text, 'unknown')
    return failed, signature if failed == 3 else 'flaky: ' + signature


def expand(builds, target, path, folder, result):
    """Small program, C reproducer, proposed regression of a finding."""
    folder.mkdir(parents=True, exist_ok=True)
    small = folder / f'{path.name}.small'
    reduced = minimized(builds, target, path, small)
    if reduced is None:
        return
    if result['signature'].endswith('unknown'):
        result['signature'] = reduced[0]
    result['program'] = reduced[1]
    result['small'] = str(small)
    if builds.is_system(target):
        shutil.copy(small, folder / f'{path.name}.regression')
        result['regression'] = str(folder / f'{path.name}.regression')
        return
    regression = folder / f'{path.name}.hfp'
    code, text = quiet([builds.tool('asan', 'vmsh'), '--binary',
                        '--disassemble', small])
    if code == 0:
        regression.write_text(f'# {result["signature"]}\n' + text)
        result['regression'] = str(regression)
    source = creproducer.write(builds, small, folder)
    if source is not None:
        result['c'] = str(source)
        result['c_does'] = creproducer.check(builds, source)


def triage_files(builds, target, paths, folder):
    """One finding a signature, the smallest file of each looked at closely."""
    groups = {}
    for path in sorted(paths, key=lambda p: (p.stat().st_size, p.name)):
        failed, signature = look(builds, target, path)
        groups.setdefault(signature, []).append((path, failed))
    found = []
    for signature, files in groups.items():
        path, failed = files[0]
        result = {'target': target, 'signature': signature,
                  'file': str(path), 'files': len(files),
                  'failed': f'{failed}/3'}
        if failed > 0:
            expand(builds, target, path, folder, result)
        found.append(result)
    return found


def is_only_slow(finding):
    """A time limit on a busy machine that no replay confirms."""
    name = pathlib.Path(finding['file']).name
    return (finding['failed'] == '0/3'
            and re.match(r'(afl-hang|lf-timeout|lf-slow|lf-oom)', name))


def triage_target(builds, target, folder, results):
    """(findings, how many files were merely slow)"""
    paths = [p for p in pathlib.Path(folder).iterdir() if p.is_file()]
    found = triage_files(builds, target, paths, results)
    slow = [f for f in found if is_only_slow(f)]
    return ([f for f in found if f not in slow],
            sum(f['files'] for f in slow))


def print_finding(f):
    say(f'FINDING {f["target"]}: {f["signature"]} '
        f'({f["files"]} files, fails {f["failed"]})')
    for key in ('program', ):
        if key in f:
            say('  ' + f[key].replace('\n', '\n  '))
    for key, what in (('c', 'C reproducer'), ('c_does', 'which'),
                      ('regression', 'for fuzz/regressions')):
        if key in f:
            say(f'  {what}: {f[key]}')
