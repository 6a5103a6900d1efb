# SPDX-License-Identifier: BSD-2-Clause
"""From a file that fails to a finding: signature, small program, C, a file
for fuzz/regressions."""

import pathlib
import re
import shutil

from . import common, creproducer
from .common import environment, quiet, say

FRAMES = 3


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
        code, text = quiet(
            [builds.binary('asan', 'replay_', target), path],
            env=environment(ASAN_OPTIONS=common.ENV['ASAN_OPTIONS'].replace(
                'symbolize=0', 'symbolize=1')))
        failed += code != 0
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
    if code != 0:
        return None
    lines = text.splitlines()
    heads = [line for line in lines if line.startswith('# ' + target)]
    at = lines.index(heads[0]) if heads else 0
    return (heads[0].removeprefix(f'# {target}: ') if heads else '?',
            '\n'.join(lines[at + 1:]))


def triage_file(builds, target, path, folder):
    """Everything about one finding; a dictionary."""
    failed, text = replays(builds, target, path)
    result = {'file': str(path), 'target': target, 'failed': f'{failed}/3'}
    if failed == 0:
        result['signature'] = 'not reproduced'
        return result
    folder.mkdir(parents=True, exist_ok=True)
    small = folder / f'{path.name}.small'
    reduced = minimized(builds, target, path, small)
    result['signature'] = signature_of(
        text, reduced[0] if reduced else 'unknown')
    if failed < 3:
        result['signature'] = 'flaky: ' + result['signature']
    if reduced is None:
        return result
    result['program'] = reduced[1]
    result['small'] = str(small)
    if not builds.is_system(target):
        regression = folder / f'{path.name}.hfp'
        code, text = quiet([builds.path('asan') / 'tools/vmsh',
                            '--disassemble', small])
        if code == 0:
            regression.write_text(f'# {result["signature"]}\n' + text)
            result['regression'] = str(regression)
        source = creproducer.write(builds, small, folder)
        if source is not None:
            result['c'] = str(source)
    else:
        shutil.copy(small, folder / f'{path.name}.regression')
        result['regression'] = str(folder / f'{path.name}.regression')
    return result


def unique(results):
    """One finding a signature, with how many files gave it."""
    by = {}
    for r in results:
        key = (r['target'], r['signature'])
        if key in by:
            by[key]['files'] += 1
        else:
            by[key] = {**r, 'files': 1}
    return list(by.values())


def triage_target(builds, target, findings, folder):
    found = sorted(p for p in pathlib.Path(findings).iterdir() if p.is_file())
    return unique(triage_file(builds, target, p, folder) for p in found)


def print_finding(f):
    say(f'FINDING {f["target"]}: {f["signature"]} '
        f'({f["files"]} files, fails {f["failed"]})')
    for key in ('program', ):
        if key in f:
            say('  ' + f[key].replace('\n', '\n  '))
    for key, what in (('c', 'C reproducer'),
                      ('regression', 'for fuzz/regressions')):
        if key in f:
            say(f'  {what}: {f[key]}')
