# SPDX-License-Identifier: BSD-2-Clause
"""Branch mutation of the compiled core: does the corpus notice?

Each conditional jump in the functions of libcore, as the compiler made it, is
inverted in turn, in a child of the replayer itself (fuzz/mutate.h), which then
runs the programs of the corpus that reach it; a mutant is killed when an oracle
speaks, or the child dies or hangs.  Branches of the checkers and of assertions
are left out: those would kill themselves.

What survives is looked at again: a copy of a source line (inlined, unrolled)
that no program runs, while a mutant of another copy is killed, says nothing
new; and fuzz/mutants-reviewed.tsv has the lines where both ways are right, or
that only contention or another processor runs: FILE, FUNCTION, TEXT (of the
line; * is all of the function), REASON.  Both are counted apart.
"""

import collections
import os
import pathlib
import random
import re
import subprocess
import tempfile
import time

from .common import ROOT, environment, programs, say
from .covdata import assertions

REVIEWED = ROOT / 'fuzz/mutants-reviewed.tsv'

# The checks themselves, and what only tells.
LEFT_OUT = re.compile(r'check|panic|kassert|_info$|^panic')

Site = collections.namedtuple('Site', 'function nth offset')
Place = collections.namedtuple('Place', 'jump byte')
COPIES = 8  # of a branch that are tried when one is never run
# How it ended; best first.
ENDS = ('killed', 'answers', 'survived', 'unreached')


def arguments(verb):
    verb.add_argument('--mutants', type=int, default=0, metavar='N',
                      help='instead: N branches of the core, drawn by --seed; '
                           '-1: all')
    verb.add_argument('--seed', type=int, default=1)


def core_functions(library):
    r = subprocess.run(['nm', '--defined-only', library], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    names = re.findall(r'^[0-9a-f]+ [tT] (\S+)$', r.stdout, re.M)
    return {n for n in names if not LEFT_OUT.search(n.split('.')[0])}


def opcode_at(text):
    """Offset within the instruction of the byte whose low bit inverts it."""
    code = bytes.fromhex(text)
    if len(code) == 2 and 0x70 <= code[0] <= 0x7f:
        return 0
    if len(code) == 6 and code[0] == 0x0f and 0x80 <= code[1] <= 0x8f:
        return 1
    return None


def sites(binary, functions):
    """Addresses of each conditional jump of those functions."""
    r = subprocess.run(['objdump', '-dw', '-j', '.text', binary], text=True,
                       stdout=subprocess.PIPE, check=True)
    found, seen = {}, collections.Counter()
    name, base = None, 0
    panics = panic_blocks(r.stdout)
    for line in r.stdout.splitlines():
        head = re.match(r'^([0-9a-f]+) <([^>]+)>:$', line)
        if head:
            base, name = int(head.group(1), 16), head.group(2)
            if name in functions:
                seen[name] += 1
            continue
        if name not in functions:
            continue
        jump = re.match(r'^\s+([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\tj(?!mp)\w+'
                        r'\s+([0-9a-f]+)', line)
        if not jump or int(jump.group(3), 16) in panics:
            continue
        at = opcode_at(jump.group(2).replace(' ', ''))
        if at is None:
            continue
        address = int(jump.group(1), 16)
        site = Site(name, seen[name], address - base)
        found[site] = Place(address, address + at)
    return found


def panic_blocks(listing):
    """Addresses from where a panic is certain: jumps there are assertions."""
    panics, run = set(), []
    for line in listing.splitlines():
        here = re.match(r'^\s+([0-9a-f]+):\t(?:[0-9a-f]{2} )+\s*\t(\w+)(.*)',
                        line)
        if not here:
            run = []
            continue
        address, op, rest = int(here.group(1), 16), here.group(2), here.group(3)
        run.append(address)
        if op == 'call':
            if 'panic' in rest:
                panics.update(run[-8:])
            run = []
        elif op.startswith('j') or op == 'ret':
            run = []
    return panics


class Mutants:
    """Where the branches are in each replayer, and how mutants end."""

    def __init__(self, builds, targets):
        self.builds = builds
        self.places, self.ends, self.frames = {}, {}, {}
        made = builds.make('plain', targets, kinds=('replay_',))
        functions = core_functions(builds.path('plain') / 'core/libcore.a')
        for target in made:
            if programs(target, 'seeds', 'corpus', 'regressions'):
                self.places[target] = sites(self.binary(target), functions)
        self.all = sorted({s for p in self.places.values() for s in p})

    def binary(self, target):
        return self.builds.binary('plain', 'replay_', target)

    def run(self, target, drawn, folder):
        """Mutants of one replayer; what each came to."""
        at = {self.places[target][s].jump: s for s in drawn
              if s in self.places[target]}
        if not at:
            return {}
        table = pathlib.Path(folder) / target
        table.write_text(''.join(
            f'{p.jump:x} {p.byte:x}\n'
            for p in (self.places[target][s] for s in at.values())))
        paths = programs(target, 'seeds', 'corpus', 'regressions')
        r = subprocess.run([self.binary(target), '-m', table, *paths],
                           stdout=subprocess.PIPE, text=True,
                           stderr=subprocess.DEVNULL, env=environment())
        if r.returncode != 0:
            say(f'{target}: no mutants ({r.returncode})')
        ends = {}
        for line in r.stdout.splitlines():
            words = line.split()
            if len(words) > 1 and words[1] in ENDS:
                ends[at[int(words[0], 16)]] = words[1:]
        return ends

    def run_all(self, drawn):
        """Target by target; a mutant goes on until one has killed it."""
        with tempfile.TemporaryDirectory() as folder:
            for target in self.places:
                left = [s for s in drawn
                        if self.ends.get(s, ['unreached'])[0] != 'killed']
                begin = time.time()
                killed = 0
                for site, end in self.run(target, left, folder).items():
                    old = self.ends.get(site, ['unreached'])
                    if ENDS.index(end[0]) < ENDS.index(old[0]):
                        self.ends[site] = end
                    killed += end[0] == 'killed'
                say(f'{target}: {killed} of {len(left)} mutants killed in '
                    f'{time.time() - begin:.0f} s')

    def end(self, site):
        return self.ends.get(site, ['unreached'])[0]

    def line(self, site):
        """(file, line) of the source, where it was written."""
        return self.chain(site)[0][:2]

    def chain(self, site):
        """(file, line, function) there, and of the calls that were inlined
        around it, from the inside out."""
        if not self.frames:
            self.find_frames()
        return self.frames.get(site, [('?', 0, site.function)])

    def find_frames(self):
        for target, places in self.places.items():
            r = subprocess.run(
                ['addr2line', '-a', '-f', '-i', '-e', self.binary(target)],
                text=True, stdout=subprocess.PIPE, check=True,
                input=''.join(f'{p.jump:x}\n' for p in places.values()))
            parts = re.split(r'^0x[0-9a-f]+\n', r.stdout, flags=re.M)[1:]
            for site, part in zip(places, parts):
                lines = part.splitlines()
                self.frames[site] = [self.frame(f, where) for f, where
                                     in zip(lines[::2], lines[1::2])]

    def frame(self, function, where):
        path, _, line = where.partition(':')
        number = int(re.match(r'\d*', line).group(0) or 0)
        path = os.path.relpath(os.path.join(self.builds.path('plain'), path),
                               self.builds.source)
        return path, number, function


class Sources:
    """Lines of the tree, and what was reviewed about them."""

    def __init__(self, source):
        self.source, self.files = pathlib.Path(source), {}
        self.asserts = {}
        self.rows = {}
        for row in REVIEWED.read_text().splitlines():
            if row and not row.startswith('#'):
                path, function, text, reason = row.split('\t')
                self.rows[path, function, text] = reason

    def text(self, path, line):
        if path not in self.files:
            file = self.source / path
            self.files[path] = (file.read_text().splitlines()
                                if file.is_file() else [])
        lines = self.files[path]
        return lines[line - 1].strip() if 0 < line <= len(lines) else ''

    def is_assertion(self, path, line):
        if path not in self.asserts:
            self.text(path, line)
            self.asserts[path] = assertions('\n'.join(self.files[path]))
        return line in self.asserts[path]

    def reason_of(self, chain):
        """The first reason along the calls that were inlined: what is only
        asked by an assertion says nothing, however far in it is."""
        return next((why for frame in chain
                     if (why := self.reason(*frame)) is not None), None)

    def reason(self, path, line, function):
        if self.is_assertion(path, line):
            return 'a condition of an assertion'
        function = function.split('.')[0]
        for name in (function, '*'):
            for text in (self.text(path, line), '*'):
                if (path, name, text) in self.rows:
                    return self.rows[path, name, text]
        return None


def copies(m, survivors):
    """Survivors that are no more than a copy of a branch that is killed."""
    at_line = collections.defaultdict(list)
    for site in m.all:
        at_line[m.line(site)].append(site)
    never = [s for s in survivors
             if m.end(s) == 'unreached' and m.line(s)[1] > 0]
    others = {o for s in never for o in at_line[m.line(s)][:COPIES]
              if o not in m.ends}
    if others:
        say(f'{len(others)} more, for copies of {len(never)} that no program '
            'reaches')
        m.run_all(sorted(others))
    return {s for s in never
            if any(m.end(o) == 'killed' for o in at_line[m.line(s)])}


def print_survivors(m, sources, survivors, copied):
    """Left over; those that are left out by their reasons."""
    left, apart = [], collections.Counter()
    for site in survivors:
        path, line = m.line(site)
        reason = sources.reason_of(m.chain(site))
        if site in copied:
            reason = 'a copy of a branch whose other copy is killed'
        if reason is not None:
            apart[reason] += 1
            continue
        left.append(site)
        say(f'{m.end(site)}: {site.function}+{site.offset:#x} {path}:{line}: '
            + sources.text(path, line))
    for reason, n in apart.most_common():
        say(f'left out: {n}: {reason}')
    return left


def run_mutants(builds, opts):
    m = Mutants(builds, opts.targets)
    sources = Sources(builds.source)
    drawn = m.all
    if 0 < opts.mutants < len(drawn):
        drawn = sorted(random.Random(opts.seed).sample(drawn, opts.mutants))
    say(f'{len(m.all)} conditional branches of core in {len(m.places)} '
        f'replayers; {len(drawn)} mutants, seed {opts.seed}')
    start = time.time()
    m.run_all(drawn)
    survivors = [s for s in drawn if m.end(s) != 'killed']
    left = print_survivors(m, sources, survivors, copies(m, survivors))
    killed = len(drawn) - len(survivors)
    ends = collections.Counter(m.end(s) for s in left)
    hows = collections.Counter(' '.join(m.ends[s][1:2]) for s in drawn
                               if m.end(s) == 'killed')
    say('killed by: ' + ', '.join(f'{h} {n}' for h, n in hows.most_common()))
    say(f'of the {len(left)} that are left {ends["unreached"]} are never run, '
        f'{ends["answers"]} answer differently and no oracle minds, '
        f'{ends["survived"]} answer the same')
    count = killed + len(left)
    say(f'{killed} of {count} mutants killed by corpus replay alone: '
        f'{100.0 * killed / max(1, count):.1f} % ('
        f'{len(survivors) - len(left)} left out, {len(drawn)} drawn: '
        f'{100.0 * killed / max(1, len(drawn)):.1f} % of those) in '
        f'{time.time() - start:.0f} s')
    return 0
