#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fail when a source file includes a header its layer may not see.

Rules live in LAYERS: folder -> folders whose *public* headers it may include.
A header named *_int.h is private to its folder; only the folders in PRIVILEGED
may reach into it.  LEAF headers include nothing of ours and are open to all.
"""
import pathlib, re, sys

LAYERS = {
    'proto':   {'proto'},
    'arch':    {'arch'},
    'core':    {'core', 'arch'},
    'server':  {'server', 'core', 'proto', 'arch'},
    'clients': {'clients', 'proto', 'core'},
    'fuzz':    {'fuzz', 'tests', 'core', 'arch', 'proto', 'server', 'clients'},
    'tests':   {'tests', 'fuzz', 'core', 'arch', 'proto', 'server', 'clients',
                'tools'},
    'bench':   {'bench', 'tests', 'core', 'arch', 'proto', 'server', 'clients'},
    'tools':   {'tools', 'fuzz', 'core', 'arch', 'proto', 'clients'},
}
PRIVILEGED = {'fuzz', 'tests', 'bench'}
LEAF = {'core/vm.h', 'core/vm_param.h', 'core/kassert.h'}
CONTRACT = {'arch/arch.h', 'arch/pmap.h', 'arch/machine.h'}  # what others see
EXCEPTIONS = {('server/main.c', 'arch')}      # the one place that picks a backend
THROUGH_CONTRACT = {'core', 'server'}         # see arch/ only through CONTRACT
INSTALLED = {'clients/libholdfast/holdfast.h',  # these find each other bare
             'clients/libholdfast/holdfast_map.h',
             'clients/libholdfast/holdfast_pool.h',
             'clients/libholdfast/holdfast_cache.h',
             'clients/libholdfast/holdfast_cache_inline.h'}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')

def check(root, path):
    rel = path.relative_to(root).as_posix()
    layer = rel.split('/')[0]
    for number, line in enumerate(path.read_text(errors='replace').split('\n'), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        header = match.group(1)
        owner = header.split('/')[0]
        if rel in INSTALLED and f'{path.parent.relative_to(root)}/{header}' in INSTALLED:
            continue
        if '/' not in header:
            yield f'{rel}:{number}: write "{layer}/{header}", not "{header}"'
        elif rel in LEAF and owner in LAYERS:
            yield f'{rel}:{number}: a leaf header includes nothing of ours'
        elif header in LEAF:
            continue
        elif owner in LAYERS and owner not in LAYERS[layer] \
                and (rel, owner) not in EXCEPTIONS:
            yield f'{rel}:{number}: {layer}/ may not include {owner}/'
        elif layer in THROUGH_CONTRACT and owner == 'arch' \
                and (rel, owner) not in EXCEPTIONS and header not in CONTRACT:
            yield f'{rel}:{number}: {layer}/ sees arch/ only through {sorted(CONTRACT)}'
        elif header.endswith('_int.h') and rel.endswith('.h') \
                and not rel.endswith('_int.h') and layer not in PRIVILEGED:
            yield f'{rel}:{number}: a public header may not include {header}'
        elif header.endswith('_int.h') and owner != layer and layer not in PRIVILEGED:
            yield f'{rel}:{number}: {header} is private to {owner}/'

def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    faults = [f for layer in LAYERS if (root / layer).is_dir()
              for path in sorted((root / layer).rglob('*.[ch]'))
              for f in check(root, path)]
    print('\n'.join(faults) or 'layers: clean')
    return bool(faults)

if __name__ == '__main__':
    sys.exit(main())
