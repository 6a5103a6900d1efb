# SPDX-License-Identifier: BSD-2-Clause
"""Is everything here that a campaign wants?"""

import os
import pathlib
import shutil
import subprocess
import tempfile

from .common import ENV, environment, say

PROBE = ('#include <stdint.h>\n#include <stddef.h>\n'
         'int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)\n'
         '{ return n > 3 && p[0] == 1 ? -1 : 0; }\n')

TOOLS = (('clang', 'libFuzzer', True), ('meson', 'the build', True),
         ('ninja', 'the build', True), ('afl-fuzz', 'AFL++', True),
         ('afl-clang-fast', 'AFL++', True),
         ('afl-clang-lto', 'nothing: 4.04c miscompiles, see docs', False),
         ('llvm-profdata-14', 'cov', False), ('llvm-cov-14', 'cov', False),
         ('objdump', 'bench --mutants', False), ('perf', 'nothing', False))


def works(folder, name, args, run, **env):
    """Does a probe compile and run?"""
    out = pathlib.Path(folder) / name.replace(' ', '-')
    r = subprocess.run([*args, '-o', out, folder + '/p.c'],
                       capture_output=True, env=environment(**env))
    if r.returncode == 0 and run is not None:
        r = subprocess.run([str(out), *run], capture_output=True,
                           env=environment())
    say(f'{name:22} {"works" if r.returncode == 0 else "DOES NOT WORK"}')
    return r.returncode == 0


def doctor(_builds, _opts):
    good = True
    for tool, why, needed in TOOLS:
        path = shutil.which(tool)
        say(f'{tool:22} {path or "missing; used for " + why}')
        good &= path is not None or not needed
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / 'p.c').write_text(PROBE)
        good &= works(folder, 'libFuzzer', ['clang', '-fsanitize=fuzzer'],
                      ['-runs=100'])
        good &= works(folder, 'libFuzzer with ASan',
                      ['clang', '-fsanitize=fuzzer,address,undefined'],
                      ['-runs=100'])
        good &= works(folder, 'afl-clang-fast',
                      ['afl-clang-fast', '-fsanitize=fuzzer'], None)
        works(folder, 'afl-gcc-fast', ['afl-gcc-fast'], None)
    core = pathlib.Path('/proc/sys/kernel/core_pattern').read_text().strip()
    say(f'{"core_pattern":22} {core}'
        + ('  (a pipe: afl-fuzz would stop; this tool sets '
           'AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES)'
           if core.startswith('|') else ''))
    say(f'{"cores":22} {os.cpu_count()}, load {os.getloadavg()[0]:.1f}')
    if os.getloadavg()[0] > os.cpu_count() / 2:
        say(f'{"":22} busy: figures will be low')
    say('afl-gcc-fast is not used; what is set for every engine:')
    for k, v in ENV.items():
        say(f'    {k}={v}')
    say('ready' if good else 'something is missing: tools/setup.sh check')
    return 0 if good else 1
