# SPDX-License-Identifier: BSD-2-Clause
"""The bug catalogue, and a copy of the tree with every bug in it.

fuzz/bugs/catalogue.tsv: number, name, class, targets (comma), file, kind
(expr or stmt), what stands there, what the bug puts in its place.  White space
matches any white space; @[ ]@ marks the part that is replaced where the
text around it is needed to be unique.  The sources themselves stay clean.
"""

import collections
import os
import pathlib
import re
import shutil

from .common import ROOT

CATALOGUE = ROOT / 'fuzz/bugs/catalogue.tsv'
COPIED = ('arch', 'bench', 'clients', 'core', 'fuzz', 'proto', 'server',
          'tests', 'tools', 'meson.build', 'meson_options.txt')

Bug = collections.namedtuple(
    'Bug', 'number name kind targets file how old new')


def catalogue(path=CATALOGUE):
    bugs = []
    for line in path.read_text().splitlines():
        if not line or line.startswith('#'):
            continue
        number, name, kind, targets, file, how, old, new = line.split('\t')
        bugs.append(Bug(int(number), name, kind, tuple(targets.split(',')),
                        file, how, old, new))
    return bugs


def pattern(text):
    """The text with any white space between its words, or none."""
    parts = [re.escape(p) for p in text.split()]
    return r'\s*'.join(parts)


def place(bug, text):
    """Where the bug goes: (start, end) in the file; or None."""
    if '@[' in bug.old:
        before, rest = bug.old.split('@[', 1)
        middle, after = rest.split(']@', 1)
    else:
        before, middle, after = '', bug.old, ''
    found = list(re.finditer(
        (pattern(before) + r'\s*' if before.strip() else '')
        + '(' + pattern(middle) + ')'
        + (r'\s*' + pattern(after) if after.strip() else ''), text))
    return found[0].span(1) if len(found) == 1 else None


def stale(bugs=None, source=ROOT):
    """Those that the tree has outgrown, or that stand in another's way."""
    gone, taken = [], collections.defaultdict(list)
    for bug in bugs or catalogue():
        path = pathlib.Path(source) / bug.file
        at = place(bug, path.read_text()) if path.exists() else None
        if at is None or any(at[0] < end and start < at[1]
                             for start, end in taken[bug.file]):
            gone.append(bug)
        else:
            taken[bug.file].append(at)
    return gone


def plant(bug, text, start, end):
    macro = 'EXPR' if bug.how == 'expr' else 'STMT'
    good = text[start:end].strip()
    if bug.how == 'stmt':
        planted = (f'HOLDFAST_BUG_STMT({bug.number}, {good.rstrip(";")}, '
                   f'{bug.new.rstrip(";") or "(void)0"});')
    else:
        planted = f'HOLDFAST_BUG_{macro}({bug.number}, {good}, {bug.new})'
    return text[:start] + planted + text[end:]


def make_tree(folder, source=ROOT):
    """Copy the tree and plant every bug; returns those that are stale."""
    folder = pathlib.Path(folder)
    source = pathlib.Path(source)
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, folder / name, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns('corpus', '*.pyc'),
                            copy_function=copy_if_new)
        elif path.exists():
            copy_if_new(path, folder / name)
    gone = stale(source=source)
    by_file = collections.defaultdict(list)
    for bug in catalogue():
        if bug not in gone:
            by_file[bug.file].append(bug)
    for file, bugs in by_file.items():
        text = (source / file).read_text()
        # From the end on, so that places before stay where they are.
        places = sorted(((place(b, text), b) for b in bugs), reverse=True,
                        key=lambda p: p[0])
        for (start, end), bug in places:
            text = plant(bug, text, start, end)
        text = '#include "fuzz/bugs/bug.h"\n' + text
        out = folder / file
        if not out.exists() or out.read_text() != text:
            out.write_text(text)
    return gone


def copy_if_new(source, target):
    """Leave what is the same alone, so that little is built again."""
    target = pathlib.Path(target)
    if target.exists():
        a, b = os.stat(source), os.stat(target)
        if a.st_size == b.st_size and a.st_mtime <= b.st_mtime:
            return target
    return shutil.copy(source, target)
