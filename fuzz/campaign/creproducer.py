# SPDX-License-Identifier: BSD-2-Clause
"""A finding as a stand-alone C file against the core's public functions."""

import pathlib
import subprocess

from .common import ROOT

LIBRARIES = ('core/libcore.a', 'arch/libarch_sim.a', 'arch/libarch.a')


def command(build, source, out):
    """The one line that compiles it."""
    return ['cc', '-std=gnu17', '-D_GNU_SOURCE', '-DVM_INVARIANTS=2', '-I',
            str(ROOT), '-o', str(out), str(source), '-Wl,--start-group',
            *[str(pathlib.Path(build) / p) for p in LIBRARIES],
            '-Wl,--end-group', '-lpthread']


def write(builds, small, folder, flavour='asan'):
    """FOLDER/NAME.c, or None where the target has nothing of the core."""
    tool = builds.path(flavour) / builds.table(flavour)['print_c']
    r = subprocess.run([tool, small], stdout=subprocess.PIPE, text=True,
                       stderr=subprocess.DEVNULL)
    if r.returncode != 0 or 'main(void)' not in r.stdout:
        return None
    out = pathlib.Path(folder) / (pathlib.Path(small).name + '.c')
    how = ' '.join(command('BUILD', out.name, out.stem)).replace(
        str(ROOT), 'ROOT')
    out.write_text(f'/*\n * {how}\n */\n' + r.stdout)
    return out
