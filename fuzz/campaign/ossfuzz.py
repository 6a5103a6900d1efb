#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The second half of .clusterfuzzlite/build.sh: link targets into $OUT.

Sources come from the build's own description; whatever has a generate_NAME is
a target, or those of them that $HOLDFAST_FUZZ_TARGETS names.  Everything but libc is linked statically, because nothing else is
there where targets run.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STATIC = {'libprotobuf-c.so': '-l:libprotobuf-c.a',
          'libevent_core.so': '-l:libevent_core.a'}
OPTIONS = '[libfuzzer]\nmax_len = 2048\ntimeout = 25\n'
# The first bytes of fields, where packets are damaged by hand.
DICTIONARY = ('"\\x0a"', '"\\x12"', '"\\x08\\x01"', '"\\x52"', '"\\x5a"',
              '"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x01"')
NO_TARGETS = ('canary',)


def run(args, **more):
    return subprocess.run([str(a) for a in args], check=True, **more)


def introspect(build):
    r = run(['meson', 'introspect', '--targets', build],
            stdout=subprocess.PIPE, text=True)
    return json.loads(r.stdout)


def command_of(build, target):
    """The link line of an executable, as meson wrote it."""
    r = run(['ninja', '-C', build, '-t', 'commands', '-s', target],
            stdout=subprocess.PIPE, text=True)
    return shlex.split(r.stdout.strip().splitlines()[-1])


def compile_objects(build, name, target):
    """The target's own sources with the engine's front end."""
    sources = [pathlib.Path(s) for group in target['target_sources']
               for s in group.get('sources', [])]
    sources = [s for s in sources if s.name != 'generate_main.c']
    sources += [ROOT / 'fuzz/entry.c']
    if os.environ.get('LIB_FUZZING_ENGINE') == '-fsanitize=fuzzer':
        sources.append(ROOT / 'fuzz/mutator_libfuzzer.c')
    folder = pathlib.Path(build) / 'engine' / name
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in sources:
        out = folder / (source.stem + '.o')
        run([os.environ['CC'], *shlex.split(os.environ.get('CFLAGS', '')),
             '-std=gnu17', '-D_GNU_SOURCE', '-DVM_INVARIANTS=2', '-w', '-I',
             ROOT, '-I', build, '-I', pathlib.Path(build) / 'proto', '-c',
             source, '-o', out])
        objects.append(out)
    return objects


def link(build, name, target, out):
    path = os.path.relpath(target['filename'][0], build)
    run(['ninja', '-C', build, path], stdout=subprocess.DEVNULL)
    words = command_of(build, path)
    rest = []
    for word in words[1:]:
        if word.endswith('.a'):
            rest.append(pathlib.Path(build) / word)
        elif word.startswith('-Wl,--wrap') or word in (
                '-Wl,--start-group', '-Wl,--end-group'):
            rest.append(word)
        elif os.path.basename(word) in STATIC:
            rest.append(STATIC[os.path.basename(word)])
    run([os.environ['CXX'], *shlex.split(os.environ.get('CXXFLAGS', '')),
         '-o', out / name, *compile_objects(build, name, target), *rest,
         *shlex.split(os.environ['LIB_FUZZING_ENGINE']), '-lpthread'])


def seed_corpus(build, name, out):
    vmsh = pathlib.Path(build) / 'tools/vmsh'
    env = {**os.environ, 'ASAN_OPTIONS': 'detect_leaks=0'}
    with zipfile.ZipFile(out / f'{name}_seed_corpus.zip', 'w',
                         zipfile.ZIP_DEFLATED) as archive:
        for kind in ('seeds', 'corpus', 'regressions'):
            folder = ROOT / 'fuzz' / kind / name
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                if path.suffix == '.hfp':
                    made = pathlib.Path(build) / 'seed'
                    run([vmsh, '--assemble', made, path], env=env)
                    archive.write(made, path.stem)
                elif not path.name.startswith('.'):
                    archive.write(path, path.name)


def main():
    build, out = sys.argv[1], pathlib.Path(os.environ['OUT'])
    targets = {t['name'].removeprefix('generate_'): t
               for t in introspect(build)
               if t['name'].startswith('generate_')}
    run(['ninja', '-C', build, 'tools/vmsh'], stdout=subprocess.DEVNULL)
    wanted = os.environ.get('HOLDFAST_FUZZ_TARGETS', '').split()
    for name in sorted(targets):
        if name in NO_TARGETS or (wanted and name not in wanted):
            continue
        link(build, name, targets[name], out)
        seed_corpus(build, name, out)
        (out / f'{name}.options').write_text(OPTIONS)
        if 'packet' in name:
            (out / f'{name}.dict').write_text('\n'.join(DICTIONARY) + '\n')
        print(f'{name}: in {out}', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
