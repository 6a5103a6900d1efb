# SPDX-License-Identifier: BSD-2-Clause
"""Builds, one folder a flavour, and the list of targets.

The list comes from the build itself: whatever tests/fuzz makes a
generate_NAME of is a target, so that a new one needs no line here.
"""

import json
import os
import pathlib
import shutil
import subprocess

from . import common
from .common import ROOT, run, say

KINDS = ('', 'replay_', 'generate_', 'minimize_')
NO_TARGETS = ('canary',)

FLAVOURS = {
    # libFuzzer, and everything else under ASan and UBSan
    'asan': ('clang', ['-Dfuzz=true', '-Db_sanitize=address,undefined',
                       '-Db_lundef=false',
                       '-Dc_args=-fno-sanitize-recover=all']),
    # the generator and the replayer at full speed
    'plain': ('cc', ['-Dbuildtype=release', '-Ddebug=true']),
    # libFuzzer without sanitizers
    'fuzzer': ('clang', ['-Dfuzz=true', '-Dbuildtype=release',
                         '-Db_lundef=false']),
    'afl': ('afl-clang-fast', ['-Dfuzz=true', '-Db_lundef=false']),
    'cmplog': ('afl-clang-fast', ['-Dfuzz=true', '-Db_lundef=false']),
    'cov': ('clang', ['-Dbuildtype=plain',
                      '-Dc_args=-O1 -g -DKASSERT_OFF '
                      '-fprofile-instr-generate -fcoverage-mapping',
                      '-Dc_link_args=-fprofile-instr-generate']),
}


class Builds:
    """The build folders under one root, for one source tree."""

    def __init__(self, folder, source=ROOT):
        self.folder = pathlib.Path(folder).resolve()
        self.source = pathlib.Path(source)
        self.tables = {}

    def path(self, flavour):
        return self.folder / flavour

    def env(self, flavour):
        """Objects come out of ccache where there is one; what an AFL++
        compiler does depends on its environment too, hence the name."""
        compiler = FLAVOURS[flavour][0]
        if shutil.which('ccache'):
            compiler = 'ccache ' + compiler
        env = {**os.environ, 'CC': compiler, 'AFL_QUIET': '1',
               'CCACHE_NAMESPACE': 'holdfast-' + flavour}
        if flavour == 'cmplog':
            env['AFL_LLVM_CMPLOG'] = '1'
        return env

    def configure(self, flavour, extra=()):
        folder = self.path(flavour)
        if not (folder / 'build.ninja').exists():
            run(['meson', 'setup', folder, self.source,
                 '-Dinvariants=2',
                 '-Dbench=false', '-Ddpdk=disabled', *FLAVOURS[flavour][1],
                 *extra], env=self.env(flavour), stdout=subprocess.DEVNULL)
        else:  # the description of the build may have changed since
            run(['ninja', '-C', folder, 'build.ninja'],
                env=self.env(flavour), stdout=subprocess.DEVNULL)
        return folder

    def table(self, flavour):
        """Name of each executable of that build, and its path within it."""
        if flavour not in self.tables:
            folder = self.configure(flavour)
            r = run(['meson', 'introspect', '--targets', folder],
                    stdout=subprocess.PIPE, text=True)
            self.tables[flavour] = {
                t['name']: os.path.relpath(t['filename'][0], folder)
                for t in json.loads(r.stdout) if t['type'] == 'executable'}
        return self.tables[flavour]

    def targets(self, flavour='asan'):
        names = [n.removeprefix('generate_') for n in self.table(flavour)
                 if n.startswith('generate_')]
        return sorted(n for n in names if n not in NO_TARGETS)

    def knows(self, name, flavour='asan'):
        """Is it a target, perhaps one that only runs when it is named?"""
        return 'generate_' + name in self.table(flavour)

    def make(self, flavour, names, kinds=KINDS, also=()):
        """Build kinds of targets; what does not build is said and left out."""
        table = self.table(flavour)
        want = [table[k + n] for n in names for k in kinds if k + n in table]
        want += [table[a] for a in also if a in table]
        r = subprocess.run(['ninja', '-k', '0', '-C', self.path(flavour),
                            *want], env=self.env(flavour), text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if r.returncode != 0:
            lines = [line for line in r.stdout.splitlines()
                     if 'error' in line or 'FAILED' in line]
            say('\n'.join(lines[:20]))
        good = [n for n in names
                if any(k + n in table for k in kinds)
                and all((self.path(flavour) / table[k + n]).exists()
                        for k in kinds if k + n in table)]
        for name in sorted(set(names) - set(good)):
            say(f'{name}: does not build as {flavour}, left out')
        return good

    def binary(self, flavour, kind, target):
        return self.path(flavour) / self.table(flavour)[kind + target]

    @staticmethod
    def compiler(flavour):
        """Compiler and sanitizers, for what is linked with a flavour."""
        compiler, options = FLAVOURS[flavour]
        return [compiler, *[o.replace('-Db_sanitize', '-fsanitize')
                            for o in options
                            if o.startswith('-Db_sanitize')]]

    def tool(self, flavour, name):
        return self.path(flavour) / self.table(flavour)[name]

    def is_system(self, target):
        """Does it run records of its own (fuzz/system)?"""
        return '/system/' in self.table('asan')['generate_' + target]

    def mutators(self):
        """The AFL++ mutator, for programs and for fuzz/system's records."""
        made = {}
        for name, gen in (('prog', 'fuzz/gen.c'),
                          ('system', 'fuzz/system/gen.c')):
            out = made[name] = self.folder / f'mutator_{name}.so'
            sources = [self.source / p for p in (
                'fuzz/mutator_afl.c', gen, 'fuzz/prog/expr.c',
                'fuzz/prog/schema.c')]
            headers = [self.source / 'fuzz' / p for p in (
                'gen.h', 'ops.h', 'prog/prog.h', 'system/sys.h')]
            if newest([out]) > newest(sources + headers):
                continue
            run(['cc', '-O2', '-g', '-w', '-std=gnu17', '-D_GNU_SOURCE',
                 '-fPIC', '-shared', '-I', self.source, '-o', out, *sources])
        return made


def newest(paths):
    return max(p.stat().st_mtime if p.exists() else 0 for p in paths)


def has_afl():
    return bool(shutil.which('afl-fuzz') and shutil.which('afl-clang-fast'))


def afl_env(builds, mutators, target):
    system = builds.is_system(target)
    return common.environment(
        AFL_CUSTOM_MUTATOR_LIBRARY=str(
            mutators['system' if system else 'prog']),
        HOLDFAST_FUZZ_TARGET=target,
        **({'HOLDFAST_FUZZ_OPS': '0xffffffff'} if system else {}))


def assemble_seeds(builds, target, folder):
    """Seeds and regressions in the binary form."""
    folder.mkdir(parents=True, exist_ok=True)
    vmsh = builds.tool('asan', 'vmsh')
    for source in common.programs(target, 'seeds', 'regressions'):
        for path in sorted(source.iterdir()):
            if path.suffix == '.hfp':
                run([vmsh, '--assemble', folder / path.stem, path])
            elif path.suffix != '.md':
                shutil.copy(path, folder / path.name)
    if not any(folder.iterdir()):
        (folder / 'nothing').write_bytes(bytes(24))
    return folder
