# SPDX-License-Identifier: BSD-2-Clause
"""Branch mutation of the compiled core: does the corpus notice?

Each conditional jump in the functions of libcore, as the compiler made it, is
inverted in turn in a copy of the replayer; the corpus is replayed; a mutant is
killed when anything fails.  Branches of the checkers and of assertions are
left out: those would kill themselves.
"""

import collections
import os
import pathlib
import random
import re
import subprocess
import tempfile
import time

from .common import environment, programs, say

# The checks themselves, and what only tells.
LEFT_OUT = re.compile(r'check|panic|kassert|_info$|^panic')

# Code that is chosen by what the machine has.
VARIANT = re.compile(r'_(plain|sse\d*|avx2|avx512)(\.|$)')

Site = collections.namedtuple('Site', 'function nth offset')


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


def text_section(binary):
    r = subprocess.run(['readelf', '-SW', binary], text=True,
                       stdout=subprocess.PIPE, check=True)
    found = re.search(r'\.text\s+PROGBITS\s+([0-9a-f]+) ([0-9a-f]+)', r.stdout)
    return int(found.group(1), 16), int(found.group(2), 16)


def opcode_at(text):
    """Offset within the instruction of the byte whose low bit inverts it."""
    code = bytes.fromhex(text)
    if len(code) == 2 and 0x70 <= code[0] <= 0x7f:
        return 0
    if len(code) == 6 and code[0] == 0x0f and 0x80 <= code[1] <= 0x8f:
        return 1
    return None


def sites(binary, functions):
    """Place in the file of each conditional jump of those functions."""
    start, offset = text_section(binary)
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
        found[site] = address + at - start + offset
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


def mutated(binary, place, out):
    data = bytearray(pathlib.Path(binary).read_bytes())
    data[place] ^= 1
    out.write_bytes(data)
    os.chmod(out, 0o755)


def fails(binary, paths, limit):
    try:
        r = subprocess.run([str(binary), *map(str, paths)],
                           stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=limit,
                           env=environment())
        return r.returncode != 0
    except subprocess.TimeoutExpired:
        return True


class Mutants:
    def __init__(self, builds, targets):
        self.builds = builds
        builds.make('plain', targets, kinds=('replay_',))
        functions = core_functions(builds.path('plain') / 'core/libcore.a')
        self.binaries, self.places, self.paths, cost = {}, {}, {}, {}
        for target in targets:
            paths = programs(target, 'seeds', 'corpus', 'regressions')
            binary = builds.binary('plain', 'replay_', target)
            if not paths or not binary.exists():
                continue
            start = time.time()
            if fails(binary, paths, 120):
                say(f'{target}: its corpus fails as it is; left out')
                continue
            cost[target] = time.time() - start
            self.binaries[target] = binary
            self.paths[target] = paths
            self.places[target] = sites(binary, functions)
        self.order = sorted(cost, key=cost.get)
        self.limit = {t: 10 + 10 * cost[t] for t in cost}
        self.all = sorted({s for p in self.places.values() for s in p})

    def killer(self, site, folder):
        """The target whose corpus notices, or None."""
        out = pathlib.Path(folder) / 'mutant'
        for target in self.order:
            place = self.places[target].get(site)
            if place is None:
                continue
            mutated(self.binaries[target], place, out)
            if fails(out, self.paths[target], self.limit[target]):
                return target
        return None


def where(builds, binary, place_address):
    r = subprocess.run(['addr2line', '-e', binary, hex(place_address)],
                       text=True, stdout=subprocess.PIPE)
    path, _, line = r.stdout.strip().partition(':')
    return f'{os.path.relpath(path, builds.source)}:{line}'


def run_mutants(builds, opts):
    m = Mutants(builds, opts.targets)
    drawn = m.all
    if 0 < opts.mutants < len(drawn):
        drawn = sorted(random.Random(opts.seed).sample(drawn, opts.mutants))
    say(f'{len(m.all)} conditional branches of core in {len(m.order)} '
        f'replayers; {len(drawn)} mutants, seed {opts.seed}')
    survivors, by = [], collections.Counter()
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        for site in drawn:
            target = m.killer(site, folder)
            if target is None:
                survivors.append(site)
            by[target] += 1
            done = sum(by.values())
            if done % 50 == 0:
                say(f'{done} mutants, {done - len(survivors)} killed')
    for site in survivors:
        target = next(t for t in m.order if site in m.places[t])
        text, offset = text_section(m.binaries[target])
        address = m.places[target][site] - offset + text
        say(f'survived: {site.function}+{site.offset:#x} '
            + where(builds, m.binaries[target], address))
    killed = len(drawn) - len(survivors)
    variants = sum(bool(VARIANT.search(s.function)) for s in survivors)
    say(f'{variants} of the {len(survivors)} survivors are in variants for '
        'instruction sets, of which a machine runs one')
    say(f'{killed} of {len(drawn)} mutants killed by corpus replay alone: '
        f'{100.0 * killed / max(1, len(drawn)):.1f} % in '
        f'{time.time() - start:.0f} s ('
        + ', '.join(f'{t} {n}' for t, n in by.most_common() if t) + ')')
    return 0
