# SPDX-License-Identifier: BSD-2-Clause
"""What seeds, corpora and regressions cover, per file; a report and a gate.

fuzz/coverage.json has the floors of the gate; fuzz/coverage-misses.tsv the
lines of core/ that no program reaches, each with the reason why.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from .common import ROOT, environment, programs, run, say

FLOORS = ROOT / 'fuzz/coverage.json'
MISSES = ROOT / 'fuzz/coverage-misses.tsv'
FOLDERS = ('core', 'server', 'proto', 'clients/libholdfast')


def arguments(verb):
    verb.add_argument('--gate', action='store_true',
                      help='fail where core is below fuzz/coverage.json')
    verb.add_argument('--set', action='store_true',
                      help='write what is true now, less 0.5, as the floor')
    verb.add_argument('--misses', action='store_true',
                      help='list the lines and branches of core not reached')
    verb.add_argument('--html', help='write annotated sources there')
    verb.add_argument('--with', dest='extra', action='append', default=[],
                      help='one more folder of TARGET/ programs')


def profile(builds, targets, folder, extra):
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
    raw = sorted(pathlib.Path(folder).glob('*.profraw'))
    merged = pathlib.Path(folder) / 'all.profdata'
    run([tool('llvm-profdata'), 'merge', '-sparse', *raw, '-o', merged])
    return merged


def tool(name):
    return shutil.which(f'{name}-14') or shutil.which(name) or name


def objects(builds, targets):
    first, *rest = [builds.binary('cov', 'replay_', t) for t in targets]
    return [str(first), *[a for o in rest for a in ('-object', str(o))]]


def export(builds, targets, merged, source):
    r = run([tool('llvm-cov'), 'export', *objects(builds, targets),
             f'-instr-profile={merged}'], stdout=subprocess.PIPE, text=True)
    files = {}
    for f in json.loads(r.stdout)['data'][0]['files']:
        path = os.path.relpath(os.path.normpath(
            os.path.join(builds.path('cov'), f['filename'])), source)
        if path.endswith('.c') and path.startswith(FOLDERS):
            without_assertions(pathlib.Path(source) / path, f)
            files[path] = f
    return files


def assertions(text):
    """Lines that belong to an assertion."""
    lines = set()
    for found in re.finditer(r'\b(?:KASSERT|MPASS)\(.*?\);', text, re.S):
        first = text.count('\n', 0, found.start()) + 1
        lines.update(range(first, first + found.group(0).count('\n') + 1))
    return lines


def without_assertions(path, f):
    """Branches of the file itself, but for those of assertions."""
    skip = assertions(path.read_text())
    both = [n for b in f['branches'] if b[0] not in skip and b[6] == b[7] == 0
            for n in b[4:6]]
    f['summary']['branches'] = {'count': len(both),
                                'covered': sum(n > 0 for n in both)}


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def add_up(files, prefix, what):
    part = sum(f['summary'][what]['covered'] for p, f in files.items()
               if p.startswith(prefix))
    whole = sum(f['summary'][what]['count'] for p, f in files.items()
                if p.startswith(prefix))
    return percent(part, whole), part, whole


def print_table(files):
    say(f'{"file":34} {"lines":>14} {"branches":>16}')
    for path, f in sorted(files.items()):
        parts = []
        for what in ('lines', 'branches'):
            s = f['summary'][what]
            parts.append(f'{percent(s["covered"], s["count"]):6.2f} % '
                         f'{s["covered"]:5d}/{s["count"]:<5d}')
        say(f'{path:34} {parts[0]} {parts[1]}')
    for folder in FOLDERS:
        lines, branches = (add_up(files, folder + '/', w)
                           for w in ('lines', 'branches'))
        say(f'{folder + " in all":34} {lines[0]:6.2f} % {lines[1]:5d}/'
            f'{lines[2]:<5d} {branches[0]:6.2f} % {branches[1]:5d}/'
            f'{branches[2]:<5d}')


def missed_lines(files, source):
    """(file, line, text) of the lines of core that count and were not run."""
    missed = []
    for path, f in sorted(files.items()):
        if not path.startswith('core/'):
            continue
        text = (pathlib.Path(source) / path).read_text().splitlines()
        n_at = {}
        # A segment speaks until the next one begins.
        segs = f['segments']
        for i, s in enumerate(segs):
            end = segs[i + 1][0] if i + 1 < len(segs) else s[0]
            for line in range(s[0], end + 1):
                if s[3] and not s[5]:
                    n_at.setdefault(line, []).append(s[2])
        for line, counts in sorted(n_at.items()):
            if max(counts) == 0 and text[line - 1].strip() not in ('', '}'):
                missed.append((path, line, text[line - 1].strip()))
    return missed


def reviewed():
    rows = {}
    if MISSES.exists():
        for line in MISSES.read_text().splitlines():
            if line and not line.startswith('#'):
                path, text, reason = line.split('\t')
                rows[path, text] = reason
    return rows


def gate(files, source):
    floors = json.loads(FLOORS.read_text())
    bad = 0
    for what in ('lines', 'branches'):
        now = add_up(files, 'core/', what)[0]
        ok = now >= floors[what]
        bad |= not ok
        say(f'core {what}: {now:.2f} %, floor {floors[what]:.2f} %: '
            + ('good' if ok else 'BELOW'))
    known = reviewed()
    new = [m for m in missed_lines(files, source)
           if (m[0], m[2]) not in known]
    say(f'{len(new)} missed lines of core are not on the reviewed list, '
        f'which has {len(known)}')
    return int(bad)


def cov(builds, opts):
    """Coverage by the corpora with llvm-cov, per file; --gate fails."""
    known = [t for t in opts.targets
             if 'replay_' + t in builds.table('cov')]
    targets = builds.make('cov', known, kinds=('replay_',))
    targets = [t for t in targets
               if builds.binary('cov', 'replay_', t).exists()]
    with tempfile.TemporaryDirectory() as folder:
        merged = profile(builds, targets, folder, opts.extra)
        files = export(builds, targets, merged, builds.source)
        if opts.html:
            run([tool('llvm-cov'), 'show', *objects(builds, targets),
                 f'-instr-profile={merged}', '-format=html',
                 f'-output-dir={opts.html}'], stdout=subprocess.DEVNULL)
    print_table(files)
    if opts.misses:
        known = reviewed()
        for path, line, text in missed_lines(files, builds.source):
            say(f'{path}:{line}: {text}'
                + (f'   [{known[path, text]}]' if (path, text) in known
                   else ''))
    if opts.set:
        floors = {w: round(add_up(files, 'core/', w)[0] - 0.5, 2)
                  for w in ('lines', 'branches')}
        FLOORS.write_text(json.dumps(floors) + '\n')
        say(f'floors: {floors}')
    return gate(files, builds.source) if opts.gate else 0
