#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Rules that a tool can hold: lint.py RULE, from the root of the tree.

  spdx      every source file names its licence
  words     no placeholders, no path of the machine it was written on
  lengths   functions of at most 80 lines, files of at most 1,200
  format    clang-format has nothing to change
"""

import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CODE = ('.c', '.h')
TEXT = CODE + ('.py', '.sh', '.proto', '.build')
MAX_FUNCTION = 80
MAX_FILE = 1200


def names():
    """What git knows; in a tree without git, all but build folders."""
    if shutil.which('git') and (ROOT / '.git').exists():
        listed = subprocess.run(
            ['git', '-c', 'safe.directory=*', 'ls-files', '-z', '--cached',
             '--others', '--exclude-standard'],
            cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return filter(None, listed.split('\0'))
    skip = re.compile(r'build|\.git/|\.cache/|.*__pycache__/')
    paths = (str(p.relative_to(ROOT)) for p in ROOT.rglob('*'))
    return (name for name in paths if not skip.match(name))


def sources(suffixes):
    for name in sorted(names()):
        path = ROOT / name
        if path.suffix in suffixes and path.is_file():
            yield name, path


def spdx():
    for name, path in sources(TEXT):
        head = '\n'.join(path.read_text().split('\n')[:3])
        if 'SPDX-License-Identifier: BSD-2-Clause' not in head:
            yield f'{name}: no SPDX line at its head'


def words():
    placeholder = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X|HA' r'CK)\b')
    place = re.compile(r'/wo' r'rk/')
    for name, path in sources(TEXT + ('.md',)):
        for number, line in enumerate(path.read_text().split('\n'), 1):
            if placeholder.search(line) and path.suffix != '.md':
                yield f'{name}:{number}: a placeholder: {line.strip()}'
            if place.search(line):
                yield f'{name}:{number}: a path of one machine'


def functions(path):
    """(name, lines) of each function: from its name's line to its brace."""
    start = name = None
    for number, line in enumerate(path.read_text().split('\n'), 1):
        match = re.match(r'^([a-z_]\w*)\(', line, re.I)
        if match:
            start, name = number, match.group(1)
        elif line == '}' and start is not None:
            yield name, number - start + 1
            start = None


def lengths():
    for name, path in sources(CODE):
        total = path.read_text().count('\n')
        if total > MAX_FILE:
            yield f'{name}: {total} lines'
        for function, length in functions(path):
            if length > MAX_FUNCTION:
                yield f'{name}: {function} has {length} lines'


def clang_format():
    tool = shutil.which('clang-format')
    if tool is None:
        print('skipped: no clang-format')
        sys.exit(77)
    names = [name for name, _ in sources(CODE)]
    run = subprocess.run([tool, '--dry-run', '-Werror', *names], cwd=ROOT,
                         capture_output=True, text=True)
    if run.returncode != 0:
        yield from sorted({line for line in run.stderr.split('\n')
                           if 'error:' in line})[:40]


RULES = {'spdx': spdx, 'words': words, 'lengths': lengths,
         'format': clang_format}


def main():
    faults = list(RULES[sys.argv[1]]())
    print('\n'.join(faults) or f'{sys.argv[1]}: clean')
    return bool(faults)


if __name__ == '__main__':
    sys.exit(main())
