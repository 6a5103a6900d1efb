#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Boot Debian's kernel under QEMU and run one program there as root.

  run_guest.py --work DIR [--memory MIB] [--nodes N] [--qemu ARG]...
               [--extra FILE[:NAME]]... PROGRAM [ARG...]

The guest is emulated (no KVM), has two processors, and nothing but busybox,
the program, the --extra files and the libraries they need.  Its console is
printed; the program's exit status is ours.  Exit 77, with the reason, where
QEMU or the kernel is not to be had.
"""

import argparse
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

KERNEL_META = 'linux-image-amd64'
MARK = 'GUEST-EXIT'
CLEAR = '\x1bc\x1b[?7l\x1b[2J'  # what the firmware leaves with
INIT = '''#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /run /tmp
mount -t tmpfs tmp /tmp
cd /test
{command} </dev/null
echo "{mark} $?"
poweroff -f
'''


def skip(why):
    print(f'skipped: {why}')
    sys.exit(77)


def kernel(work):
    """Path of a kernel image; fetched from the distribution once."""
    found = sorted(work.glob('boot/vmlinuz-*'))
    if found:
        return found[-1]
    for tool in ('apt-get', 'apt-cache', 'dpkg-deb'):
        if shutil.which(tool) is None:
            skip(f'no {tool}, so no kernel for the guest')
    depends = subprocess.run(['apt-cache', 'depends', KERNEL_META],
                             capture_output=True, text=True).stdout
    package = re.search(r'Depends: (linux-image-\S+)', depends)
    if package is None:
        skip(f'no package behind {KERNEL_META}; run apt-get update')
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as place:
        if subprocess.run(['apt-get', '-q', 'download', package.group(1)],
                          cwd=place, capture_output=True).returncode != 0:
            skip(f'cannot download {package.group(1)}')
        deb = next(pathlib.Path(place).glob('*.deb'))
        archive = subprocess.Popen(['dpkg-deb', '--fsys-tarfile', str(deb)],
                                   stdout=subprocess.PIPE)
        subprocess.run(['tar', '-x', '-C', str(work), '--wildcards',
                        './boot/vmlinuz-*'], stdin=archive.stdout, check=True)
        archive.wait()
    return sorted(work.glob('boot/vmlinuz-*'))[-1]


def libraries(path):
    """The shared libraries that a program needs, as ldd sees them."""
    text = subprocess.run(['ldd', str(path)], capture_output=True,
                          text=True).stdout
    return set(re.findall(r'(/[^\s:]+)', text))


def initramfs(place, program, arguments, extra):
    root = pathlib.Path(place) / 'root'
    for name in ('bin', 'dev', 'proc', 'sys', 'test', 'run', 'tmp'):
        (root / name).mkdir(parents=True)
    shutil.copy('/bin/busybox', root / 'bin/busybox')
    files = [(program, os.path.basename(program))]
    for item in extra:
        path, _, name = item.partition(':')
        files.append((path, name or os.path.basename(path)))
    needed = set()
    for path, name in files:
        shutil.copy(path, root / 'test' / name)
        needed |= libraries(path)
    for library in needed:
        target = root / library.lstrip('/')
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (root / 'etc').mkdir()
    (root / 'etc/passwd').write_text('root:x:0:0::/:/bin/sh\n'
                                     'nobody:x:65534:65534::/:/bin/sh\n')
    (root / 'etc/group').write_text('root:x:0:\nnogroup:x:65534:\n')
    init = root / 'init'
    command = ' '.join(['./' + files[0][1], *arguments])
    init.write_text(INIT.format(command=command, mark=MARK))
    init.chmod(0o755)
    names = subprocess.run(['find', '.', '-print0'], cwd=root,
                           capture_output=True, check=True).stdout
    archive = subprocess.run(['cpio', '--null', '-o', '-H', 'newc', '--quiet'],
                             cwd=root, input=names, capture_output=True,
                             check=True).stdout
    path = pathlib.Path(place) / 'initrd.gz'
    path.write_bytes(gzip.compress(archive, compresslevel=1))
    return path


def memory(total, nodes):
    if nodes == 1:
        return []
    share = total // nodes
    for node in range(nodes):
        yield from ('-object',
                    f'memory-backend-ram,id=m{node},size={share}M',
                    '-numa', f'node,memdev=m{node},cpus={node}')


def boot(command, timeout):
    """Run it to its end.  None: it stood still before the guest had said
    anything, as the emulator does now and then.  Exits where a guest that had
    does not end."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired as late:
        console = (late.stdout or b'').decode(errors='replace')
    print(console)
    print(f'no end after {timeout:.0f} s')
    said = console.partition('Booting from ROM..')[2].replace(CLEAR, '')
    if said.strip() != '':
        sys.exit(1)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--work', required=True, type=pathlib.Path)
    parser.add_argument('--memory', type=int, default=1024)
    parser.add_argument('--nodes', type=int, default=1)
    parser.add_argument('--timeout', type=int, default=240)
    parser.add_argument('--qemu', action='append', default=[])
    parser.add_argument('--append', default='')
    parser.add_argument('--extra', action='append', default=[])
    parser.add_argument('program')
    parser.add_argument('arguments', nargs=argparse.REMAINDER)
    a = parser.parse_args()

    qemu = shutil.which('qemu-system-x86_64')
    if qemu is None:
        skip('no qemu-system-x86_64')
    for tool in ('cpio', 'busybox', 'ldd'):
        if shutil.which(tool) is None:
            skip(f'no {tool}')
    image = kernel(a.work.resolve())
    with tempfile.TemporaryDirectory() as place:
        initrd = initramfs(place, a.program, a.arguments, a.extra)
        command = [qemu, '-accel', 'tcg,thread=multi', '-smp', '2', '-m',
                   str(a.memory), '-cpu', 'max', '-nographic', '-no-reboot',
                   '-kernel', str(image), '-initrd', str(initrd), '-append',
                   'console=ttyS0 panic=-1 quiet iomem=relaxed ' + a.append,
                   *memory(a.memory, a.nodes),
                   *[word for item in a.qemu for word in item.split()]]
        out = boot(command, a.timeout / 2)
        if out is None:
            out = boot(command, a.timeout / 2)
        if out is None:
            return 1
    console = out.stdout.decode(errors='replace')
    print(console.replace('\r', ''))
    mark = re.search(MARK + r' (\d+)', console)
    if mark is None:
        print(out.stderr.decode(errors='replace'))
        print('the guest did not get to the end')
        return 1
    return int(mark.group(1))


if __name__ == '__main__':
    sys.exit(main())
