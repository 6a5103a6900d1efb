# SPDX-License-Identifier: BSD-2-Clause
"""What llvm-cov exports, as lines and branches a file.

A header that several files include, or one file includes several times, counts
once: a line or the side of a branch is covered when any of its copies is.
Branches of assertions, and those that the compiler decides, do not count.
"""

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess

from .common import run

Miss = collections.namedtuple('Miss', 'path line function text side')

# Definitions begin in the first column, the name of the function alone there.
FUNCTION = re.compile(r'^(?:ISA\()?(\w+)\)?\(')


def tool(name):
    return shutil.which(f'{name}-14') or shutil.which(name) or name


def merge(raw, out):
    run([tool('llvm-profdata'), 'merge', '-sparse', *raw, '-o', out])


def assertions(text):
    """Lines that belong to an assertion."""
    lines = set()
    for found in re.finditer(r'\b(?:KASSERT|MPASS)\(.*?\);', text, re.S):
        first = text.count('\n', 0, found.start()) + 1
        lines.update(range(first, first + found.group(0).count('\n') + 1))
    return lines


class File:
    """One source file: its text, lines {number: times} and branches
    {(line, column, line, column): [times true, times false]}."""

    def __init__(self, source, path):
        self.path = path
        self.text = (pathlib.Path(source) / path).read_text().splitlines()
        self.skip = assertions('\n'.join(self.text))
        self.lines, self.branches = {}, {}

    def add_lines(self, segments):
        """As llvm-cov counts them: the most that began in the line, or
        what reaches into it."""
        at = collections.defaultdict(list)
        for s in segments:
            at[s[0]].append(s)
        before = None
        for line in range(min(at, default=1), max(at, default=0) + 1):
            here = at.get(line, [])
            starts = [s[2] for s in here if s[3] and s[4] and not s[5]]
            left_out = here and not here[0][3] and here[0][4]
            if not left_out and self.counts(line) and (
                    starts or before and before[3]):
                n = max([*starts, before[2] if before else 0])
                self.lines[line] = max(n, self.lines.get(line, 0))
            before = here[-1] if here else before

    def counts(self, line):
        """Not where a macro is defined, nor assertions, nor brackets."""
        text = self.text[line - 1].strip()
        return line not in self.skip and text not in ('', '{', '}', '} else {') \
            and not text.startswith('#')

    def add_branches(self, function):
        regions = [r for r in function['regions']
                   if r[5] == 0 and r[7] == 0]
        for b in function['branches']:
            if b[6] != 0 or b[0] in self.skip or decided(b, regions):
                continue
            both = self.branches.setdefault(tuple(b[:4]), [0, 0])
            both[0] += b[4]
            both[1] += b[5]

    def function_at(self, line):
        for text in reversed(self.text[:line]):
            found = FUNCTION.match(text)
            if found:
                return found.group(1)
        return '-'

    def span(self, branch):
        first, begin, last, end = branch
        text = ' '.join(self.text[first - 1:last])[begin - 1:]
        if first == last:
            text = text[:end - begin]
        return ' '.join(text.split())

    def is_out(self, line, without):
        """Is it in a function that does not count?"""
        return without is not None and re.fullmatch(
            without, self.function_at(line)) is not None

    def misses(self, without=None):
        """What was not run, but for functions that match `without`."""
        for line, n in sorted(self.lines.items()):
            text = self.text[line - 1].strip()
            if n == 0 and not self.is_out(line, without):
                yield Miss(self.path, line, self.function_at(line), text,
                           'line')
        for branch, both in sorted(self.branches.items()):
            sides = [s for s, n in zip(('true', 'false'), both)
                     if n == 0 and not self.is_out(branch[0], without)]
            for side in sides:
                yield Miss(self.path, branch[0], self.function_at(branch[0]),
                           self.span(branch), side)

    def count(self, what, without=None):
        """(covered, all)"""
        if what == 'lines':
            counts = [n for line, n in self.lines.items()
                      if not self.is_out(line, without)]
        else:
            counts = [n for branch, both in self.branches.items()
                      if not self.is_out(branch[0], without) for n in both]
        return sum(n > 0 for n in counts), len(counts)


def decided(branch, regions):
    """Was it run and yet never taken either way?  Then it is no branch."""
    if branch[4] or branch[5]:
        return False
    start = tuple(branch[:2])
    around = [r for r in regions
              if tuple(r[:2]) <= start < tuple(r[2:4])]
    inner = max(around, key=lambda r: (r[0], r[1], -r[2], -r[3]), default=None)
    return inner is not None and inner[4] > 0


def export(binaries, profile, source, build, folders):
    """The files of those folders, by their path in the tree."""
    first, *rest = map(str, binaries)
    r = run([tool('llvm-cov'), 'export', first,
             *[a for o in rest for a in ('-object', o)],
             f'-instr-profile={profile}'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    data = json.loads(r.stdout)['data'][0]
    files = {}

    def file_of(name):
        path = os.path.relpath(os.path.normpath(os.path.join(build, name)),
                               source)
        if path.startswith(folders) and path not in files:
            files[path] = File(source, path)
        return files.get(path)

    for f in data['files']:
        file = file_of(f['filename'])
        if file:
            file.add_lines(f['segments'])
    for function in data['functions']:
        file = file_of(function['filenames'][0])
        if file:
            file.add_branches(function)
    return {path: f for path, f in files.items() if f.lines}
