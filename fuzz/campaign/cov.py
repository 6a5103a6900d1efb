# SPDX-License-Identifier: BSD-2-Clause
"""What seeds, corpora and regressions cover, per file; a report and a gate.

The build has assertions taken out (KASSERT_OFF), and runs the checker after
each edit.  fuzz/coverage.json has the floors of the gate, and
fuzz/coverage-misses.tsv what no program can reach in core/, each with the
reason why: FILE, FUNCTION, TEXT (of a line or a condition; * is all of the
function), SIDE (line, true, false; * is any), REASON.
"""

import json
import os
import pathlib
import subprocess
import tempfile

from . import covdata
from .common import ROOT, environment, programs, run, say

FLOORS = ROOT / 'fuzz/coverage.json'
MISSES = ROOT / 'fuzz/coverage-misses.tsv'
FOLDERS = ('core/', 'server/', 'proto/', 'clients/libholdfast/')

# They look for what is broken, which no program breaks: unit tests do.
CHECKERS = {
    'core/vm_map_check.c': '.*', 'core/vm_phys_check.c': '.*',
    'core/kassert.c': '.*', 'core/vm_arena.c': r'check_\w+|vm_arena_check',
    'core/vm_object.c': 'vm_object_check',
    'core/vm_page.c': r'treap_(check|count)|vm_pages_check',
    'core/vm_phys.c': 'edited', 'core/vm_map.c': 'map_check_amortised',
}
TESTS = ('tests/core/', 'tests/model/')


def arguments(verb):
    verb.add_argument('--gate', action='store_true',
                      help='fail where core is below fuzz/coverage.json')
    verb.add_argument('--set', action='store_true',
                      help='write what is true now as the floor')
    verb.add_argument('--misses', action='store_true',
                      help='list the lines and branches of core not reached')
    verb.add_argument('--tests', action='store_true',
                      help='run the unit and model tests of core as well')
    verb.add_argument('--html', help='write annotated sources there')
    verb.add_argument('--with', dest='extra', action='append', default=[],
                      help='one more folder of TARGET/ programs')


def replay(builds, targets, folder, extra):
    for target in targets:
        paths = programs(target, 'seeds', 'corpus', 'regressions')
        paths += [p for e in extra if (p := pathlib.Path(e) / target).is_dir()]
        if not paths:
            say(f'{target}: no programs')
            continue
        subprocess.run(
            [builds.binary('cov', 'replay_', target), *paths],
            env=environment(LLVM_PROFILE_FILE=f'{folder}/{target}.profraw'),
            stdout=subprocess.DEVNULL)


def run_tests(builds, folder):
    """Those of assertions fail in this build, as they should."""
    table = builds.table('cov')
    names = sorted(n for n, p in table.items() if p.startswith(TESTS))
    builds.make('cov', [], also=names)
    for name in names:
        subprocess.run(
            [builds.path('cov') / table[name]], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(LLVM_PROFILE_FILE=f'{folder}/{name}-%m.profraw'))
    return [builds.path('cov') / table[n] for n in names]


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def add_up(files, what, prefix='core/', without=None):
    counts = [f.count(what, (without or {}).get(p)) for p, f in files.items()
              if p.startswith(prefix)]
    return sum(c[0] for c in counts), sum(c[1] for c in counts)


def row(name, lines, branches):
    say(f'{name:34} {percent(*lines):6.2f} % {lines[0]:5d}/{lines[1]:<5d} '
        f'{percent(*branches):6.2f} % {branches[0]:5d}/{branches[1]:<5d}')


def print_table(files):
    say(f'{"file":34} {"lines":>14} {"branches":>20}')
    for path, f in sorted(files.items()):
        row(path, f.count('lines'), f.count('branches'))
    for folder in FOLDERS:
        row(folder + ' in all', *(add_up(files, what, folder)
                                  for what in ('lines', 'branches')))


def reviewed():
    rows = {}
    for line in MISSES.read_text().splitlines():
        if line and not line.startswith('#'):
            path, function, text, side, reason = line.split('\t')
            rows[path, function, text, side] = reason
    return rows


def reason_of(miss, rows):
    for text in (miss.text, '*'):
        for side in (miss.side, '*'):
            key = (miss.path, miss.function, text, side)
            if key in rows:
                return rows[key]
    return None


def misses(files):
    """Of core but for the checkers, with the reason or None."""
    rows = reviewed()
    return [(m, reason_of(m, rows)) for p, f in sorted(files.items())
            if p.startswith('core/') for m in f.misses(CHECKERS.get(p))]


def figures(files):
    """Percentages of core, checkers apart; with and without what the list
    says cannot be reached."""
    missed = misses(files)
    out = {}
    for what in ('lines', 'branches'):
        part, whole = add_up(files, what, without=CHECKERS)
        listed = sum(reason is not None and (m.side == 'line') ==
                     (what == 'lines') for m, reason in missed)
        out[what] = percent(part, whole)
        say(f'core {what}, checkers apart: {percent(part, whole):.2f} % '
            f'({part} of {whole}); {listed} are on the reviewed list, which '
            f'leaves {percent(part, whole - listed):.2f} %')
    out['unlisted'] = sum(reason is None for _, reason in missed)
    say(f'{out["unlisted"]} misses are not on the reviewed list')
    return out


def gate(now, key):
    floors = json.loads(FLOORS.read_text())[key]
    bad = 0
    for what in ('lines', 'branches'):
        ok = round(now[what], 2) >= floors[what]
        bad |= not ok
        say(f'core {what} ({key}): {now[what]:.2f} %, floor '
            f'{floors[what]:.2f} %: ' + ('good' if ok else 'BELOW'))
    return int(bad)


def set_floors(now, key):
    floors = json.loads(FLOORS.read_text())
    floors[key] = {w: round(now[w], 2) for w in ('lines', 'branches')}
    FLOORS.write_text(json.dumps(floors, indent=1) + '\n')
    say(f'floors of {key}: {floors[key]}')


def linked(files, source):
    """Say which files of core are in no program that was measured."""
    for path in sorted((pathlib.Path(source) / 'core').glob('*.c')):
        name = os.path.relpath(path, source)
        if name not in files:
            say(f'{name}: in no replayer')


def measure(builds, opts, targets):
    binaries = [builds.binary('cov', 'replay_', t) for t in targets]
    with tempfile.TemporaryDirectory() as folder:
        replay(builds, targets, folder, opts.extra)
        if opts.tests:
            binaries += run_tests(builds, folder)
        merged = pathlib.Path(folder) / 'all.profdata'
        covdata.merge(sorted(pathlib.Path(folder).glob('*.profraw')), merged)
        if opts.html:
            run([covdata.tool('llvm-cov'), 'show', binaries[0],
                 *[a for b in binaries[1:] for a in ('-object', b)],
                 f'-instr-profile={merged}', '-format=html',
                 f'-output-dir={opts.html}'], stdout=subprocess.DEVNULL)
        return covdata.export(binaries, merged, builds.source,
                              builds.path('cov'), FOLDERS)


def cov(builds, opts):
    """Coverage by the corpora with llvm-cov, per file; --gate fails."""
    known = [t for t in opts.targets
             if 'replay_' + t in builds.table('cov')]
    targets = [t for t in builds.make('cov', known, kinds=('replay_',))
               if builds.binary('cov', 'replay_', t).exists()]
    files = measure(builds, opts, targets)
    print_table(files)
    linked(files, builds.source)
    now = figures(files)
    key = 'tests' if opts.tests else 'corpus'
    if opts.misses:
        for m, reason in misses(files):
            say(f'{m.path}:{m.line}: {m.function}: {m.side}: {m.text}'
                + (f'   [{reason}]' if reason else ''))
    if opts.set:
        set_floors(now, key)
    return gate(now, key) if opts.gate else 0
