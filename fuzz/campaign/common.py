# SPDX-License-Identifier: BSD-2-Clause
"""Where things are, and the environment that every engine wants."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# afl-fuzz refuses to start on many machines for reasons that do not matter
# here; each of these says so to it.  Sanitizers stop at the first report.
ENV = {
    'AFL_QUIET': '1', 'AFL_NO_UI': '1', 'AFL_NO_AFFINITY': '1',
    'AFL_SKIP_CPUFREQ': '1', 'AFL_FAST_CAL': '1',
    'AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES': '1', 'AFL_CMPLOG_ONLY_NEW': '1',
    'AFL_ALLOW_TMP': '1',
    'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1',
    'ASAN_OPTIONS': 'abort_on_error=1:symbolize=0:detect_leaks=0',
}


def environment(**more):
    return {**os.environ, **ENV, **more}


def say(text=''):
    print(text, flush=True)


def run(args, **more):
    return subprocess.run([str(a) for a in args], check=True, **more)


def quiet(args, **more):
    """Run; (exit code, output and errors as one text)."""
    r = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, errors='replace',
                       env=more.pop('env', environment()), **more)
    return r.returncode, r.stdout


def programs(target, *kinds):
    """Folders of programs of a target that exist."""
    paths = [ROOT / 'fuzz' / kind / target for kind in kinds]
    return [p for p in paths if p.is_dir()]


def number(n, what):
    return f'{n} {what}' + ('' if n == 1 else 's')


def load():
    return os.getloadavg()[0]


def count_files(folder):
    folder = pathlib.Path(folder)
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
