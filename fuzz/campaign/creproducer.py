# SPDX-License-Identifier: BSD-2-Clause
"""A finding as a stand-alone C file against the core's public functions."""

import pathlib
import shlex
import subprocess

from .common import ROOT, environment, quiet

LIBRARIES = ('core/libcore.a', 'arch/libarch_sim.a', 'arch/libarch.a')


def command(builds, source, out, flavour):
    """The one line that compiles it."""
    return [*builds.compiler(flavour), '-std=gnu17', '-D_GNU_SOURCE',
            '-DVM_INVARIANTS=2', '-g', '-I', str(ROOT), '-o', str(out),
            str(source), '-Wl,--start-group',
            *[str(builds.path(flavour) / p) for p in LIBRARIES],
            '-Wl,--end-group', '-lpthread']


def write(builds, small, folder, flavour='asan'):
    """FOLDER/NAME.c of NAME.small, or None where the target has nothing of the core."""
    tool = builds.tool(flavour, 'print_c')
    r = subprocess.run([tool, small], stdout=subprocess.PIPE, text=True,
                       stderr=subprocess.DEVNULL, env=environment())
    if r.returncode != 0 or 'main(void)' not in r.stdout:
        return None
    out = pathlib.Path(folder) / (pathlib.Path(small).stem + '.c')
    how = command(builds, out, out.with_suffix('.repro'), flavour)
    out.write_text(f'/*\n * {shlex.join(how)}\n */\n' + r.stdout)
    return out


def check(builds, source, flavour='asan'):
    """Compile it and run it: what a person will see."""
    program = source.with_suffix('.repro')
    code, text = quiet(command(builds, source, program, flavour))
    if code != 0:
        return 'does not compile: ' + text.strip()[:300]
    try:
        code, _ = quiet([program], timeout=60)
    except subprocess.TimeoutExpired:
        return 'compiles; does not end'
    if code == 0:
        return 'compiles; exits with 0: the core alone does not show it'
    return ('compiles; aborts' if code < 0
            else f'compiles; exits with {code}: the core still answers so')
