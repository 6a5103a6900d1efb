#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every verb of `holdfast` against a daemon over invented memory.

cli_verbs.py HOLDFASTD HOLDFAST: each verb's output, as text and as JSON, and
each exit status that --help promises.  Needs neither root nor huge pages.
"""
import atexit
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time

DAEMON, CLI = sys.argv[1:3]
MIB = 1 << 20
passed = failed = 0


def check(name, good, detail=''):
    global passed, failed
    passed += bool(good)
    failed += not good
    print(('ok      ' if good else 'FAILED  ') + name)
    if not good:
        print('        ' + str(detail))


class Daemon:
    """Ready when the constructor returns; gone after stop()."""

    def __init__(self, *options):
        self.dir = tempfile.TemporaryDirectory(prefix='holdfast-cli-')
        self.socket = str(pathlib.Path(self.dir.name) / 'socket')
        ready, ours = os.pipe()
        self.process = subprocess.Popen(
            [DAEMON, '--socket', self.socket, '--backend', 'sim', '--pool',
             '256M', '--ready-fd', str(ours), '--log-level', 'error',
             '--user', str(os.getuid()), *options], pass_fds=[ours])
        atexit.register(self.process.kill)  # where a check raises
        os.close(ours)
        if not select.select([ready], [], [], 30)[0] or not os.read(ready, 99):
            raise SystemExit('the daemon does not get ready')
        os.close(ready)

    def stop(self):
        self.process.terminate()
        check('daemon: SIGTERM ends it with 0', self.process.wait(30) == 0)
        check('daemon: nothing is left', os.listdir(self.dir.name) == [])
        self.dir.cleanup()

    def run(self, *args, **kwargs):
        return subprocess.run(
            [CLI, '--socket', self.socket, *args], text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)

    def json(self, *args):
        result = self.run(*args, '--json')
        return result.returncode, json.loads(result.stdout)

    def hold(self, *args):
        """A verb that holds until interrupted, and its first output."""
        process = subprocess.Popen(
            [CLI, '--socket', self.socket, *args, '--json'], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        text = ''
        while True:
            text += process.stdout.readline()
            try:
                return process, json.loads(text)
            except ValueError:
                if process.poll() is not None:
                    raise


def interrupt(process, sig):
    process.send_signal(sig)
    process.communicate(timeout=30)
    return process.returncode


def status_and_pool(d):
    rv, status = d.json('status')
    check('status: JSON', rv == 0 and status['machine'] == 'x86_64'
          and status['pool']['frames_total'] == 128
          and status['pool']['simulated'], status)
    tenant = status['tenant']
    check('status: the tenant', tenant['limbo_bytes'] == 0
          and tenant['base_bytes']['used'] == 0
          and tenant['base_bytes']['limit'] > 0
          and tenant['map_entries']['used'] == 0, tenant)
    text = d.run('status').stdout
    check('status: text', 'pool      256 MiB: 128 frames of 2 MiB' in text
          and 'degraded' in text, text)
    rv, pool = d.json('pool')
    check('pool: JSON', rv == 0 and pool['addresses_told']
          and sum(r['end'] - r['start'] for r in pool['free']) == 256 * MIB,
          pool)
    text = d.run('pool').stdout
    check('pool: picture', text.count('.' * 64) == 2, text)
    text = d.run('pool', '--rows', '1').stdout
    check('pool: rows', 'one character is 4 MiB' in text
          and text.count('.' * 64) == 1, text)


def operators(d):
    rv, changed = d.json('pool', 'grow', '16')
    check('pool grow: JSON', rv == 0 and changed['frames'] == 16
          and changed['nruns'] == 1 and len(changed['runs']) == 1, changed)
    result = d.run('pool', 'grow', '16')
    check('pool grow: not beyond --pool-max', result.returncode == 1
          and 'pool-max' in result.stderr, result)
    result = d.run('pool', 'shrink', '16')
    check('pool shrink: text', result.returncode == 0 and result.stdout
          .startswith('16 of 16 frames went, in 1 runs, the largest 32 MiB'),
          result)
    result = d.run('pool', 'shrink', '1M')
    check('pool shrink: not below --pool-min', result.returncode == 1
          and 'pool-min' in result.stderr, result)
    rv, changed = d.json('pool', 'drain')
    check('pool drain', rv == 0 and changed == {'action': 'drain'}, changed)
    rv, error = d.json('alloc', '4K', '--once')
    check('pool drain: nothing new', rv == 1
          and 'drained' in error['error']['message'], error)
    check('pool drain: status', d.json('status')[1]['pool']['draining']
          and 'drained' in d.run('status').stdout
          and 'drained' in d.run('pool').stdout)
    check('pool undrain', d.run('pool', 'undrain').returncode == 0
          and d.run('alloc', '4K', '--once').returncode == 0)
    rv, changed = d.json('pool', 'rebalance')
    check('pool rebalance: one node', rv == 0 and changed['frames'] == 0,
          changed)
    rv, error = d.json('pool', 'demote', '1')
    check('pool demote: no big frames', rv == 1
          and error['error']['status'] == 'KERN_INVALID_ARGUMENT', error)
    rv, error = d.json('pool', 'grow', '1', '--node', '3')
    check('pool grow: no such node', rv == 1
          and error['error']['status'] == 'KERN_INVALID_ARGUMENT', error)


def truth(d):
    rv, result = d.json('verify')
    check('verify: nothing to read', rv == 0 and result['spans'] == 0, result)
    holder, buf = d.hold('alloc', '6M')
    rv, result = d.json('verify')
    check('verify: all of it', rv == 0 and result['frames'] == 3
          and result['mismatches'] == 0 and result['all_tenants'], result)
    end = time.monotonic() + 20  # one more as that is made ready
    while not result['ready_frames'] and time.monotonic() < end:
        rv, result = d.json('verify')
    check('verify: the stock apart', rv == 0 and result['ready_spans'] > 0
          and result['frames'] == 3
          and result['ready_mismatches'] + result['ready_poisoned'] == 0
          and ' spans in stock: 0 mismatches' in d.run('verify').stdout, result)
    for fd in pathlib.Path(f'/proc/{holder.pid}/fd').iterdir():
        if 'memfd:' in os.readlink(fd):
            os.truncate(fd, 2 * MIB)
    rv, result = d.json('verify')
    check('verify: 1 on a mismatch', rv == 1 and result['mismatches'] == 2
          and result['bad'][0]['mismatches'] == 2, result)
    result = d.run('verify')
    check('verify: text', result.returncode == 1
          and '2 of 3 frames are not where they were' in result.stdout, result)
    interrupt(holder, signal.SIGINT)
    rv, status = d.json('status')
    check('verify: counted once', status['pool']['frames_tampered'] == 2
          and status['tenant']['tampered'] == 2, status)


def quarantine(d):
    check('release: nothing there', d.json('release') == (0, [])
          and 'nothing' in d.run('release').stdout)
    holder, buf = d.hold('alloc', '4M', '--device', '--type', 'ring')
    interrupt(holder, signal.SIGTERM)
    check('release: not who gives back', d.json('release') == (0, []))
    holder, buf = d.hold('alloc', '4M', '--device', '--type', 'ring')
    interrupt(holder, signal.SIGKILL)
    held = []
    for _ in range(600):
        held = d.json('release')[1]
        if held:
            break
        time.sleep(0.05)
    check('release: lists it', len(held) == 1 and held[0]['size'] == 4 * MIB
          and held[0]['type'] == 'ring' and held[0]['pa'] == buf['pa'], held)
    text = d.run('pool').stdout
    check('pool: shows it as quarantined', text.count('qq') == 1
          and 'q quarantined' in text, text)
    check('status: shows it', d.json('status')[1]['pool']
          ['frames_quarantined'] == 2)
    check('release: unknown', d.run('release', '99').returncode == 1)
    rv, result = d.json('release', str(held[0]['id']))
    check('release: one', rv == 0 and result == {'released': 1}, result)
    rv, result = d.json('release', '--all')
    check('release: all', rv == 0 and result == {'released': 0}, result)


def alloc(d):
    holder, buf = d.hold('alloc', '20M', '--align', '4M')
    check('alloc: holds what was asked for', buf['size'] == 20 * MIB
          and buf['pa'] % (4 * MIB) == 0 and buf['pin'] == 'none', buf)
    text = d.run('pool').stdout
    check('pool: shows it', text.count('#') == 10 + 1, text)  # and the legend
    check('alloc: SIGINT ends it with 0', interrupt(holder, signal.SIGINT) == 0)
    holder, _ = d.hold('alloc', '2M')
    check('alloc: SIGTERM ends it with 0',
          interrupt(holder, signal.SIGTERM) == 0)
    rv, buf = d.json('alloc', '8K', '--zero', '--align', '32K', '--boundary',
                     '1M', '--high', '0x108000000', '--type', 'devbuf',
                     '--once')
    check("alloc: the manual page's example", rv == 0
          and buf['pa'] % (32 << 10) == 0
          and buf['pa'] + 8192 <= 0x108000000, buf)
    rv, error = d.json('alloc', '8K', '--high', '4M', '--once')
    check('alloc: a refusal is 1 and an object', rv == 1
          and error['error']['status'] == 'KERN_NO_SPACE'
          and '0x100000000' in error['error']['message'], error)
    result = d.run('alloc', '8M', '--exec', 'sh', '-c',
                   'readlink /proc/self/fd/$HOLDFAST_FD; '
                   'echo $HOLDFAST_SIZE $HOLDFAST_PA $HOLDFAST_PIN; exit 7')
    check('alloc: --exec passes descriptor and numbers, ends as it did',
          result.returncode == 7 and '/memfd:' in result.stdout
          and '8388608 0x1' in result.stdout, result)
    result = d.run('alloc', '2M', '--exec', 'sh', '-c', 'kill -9 $$')
    check('alloc: --exec of what a signal ends', result.returncode == 137)
    result = d.run('alloc', '2M', '--exec', '/nowhere')
    check('alloc: --exec of nothing', result.returncode == 127)
    for _ in range(1000):  # it is zeroed in idle time
        rv, pool = d.json('status')
        if pool['pool']['frames_in_use'] == 0:
            break
        time.sleep(0.01)
    check('alloc: everything came back',
          pool['pool']['frames_in_use'] == 0, pool)


def waits(d):
    """Wait until a request queues in the daemon."""
    for _ in range(2000):
        if d.json('status')[1]['pool']['waiting'] > 0:
            return True
        time.sleep(0.01)
    return False


def waiting(d):
    holder, _ = d.hold('alloc', '256M')
    rv, error = d.json('alloc', '4M', '--once')
    check('alloc: refused without --wait', rv == 1
          and error['error']['status'] == 'KERN_NO_SPACE', error)
    rv, error = d.json('alloc', '4M', '--once', '--wait=0.05')
    check('alloc --wait=SECONDS: times out', rv == 1
          and error['error']['status'] == 'HF_TIMED_OUT'
          and '50 ms' in error['error']['message'], error)
    rv, error = d.json('alloc', '512M', '--once', '--wait')
    check('alloc --wait: what can never be is refused', rv == 1
          and error['error']['status'] == 'KERN_NO_SPACE', error)
    command = [CLI, '--socket', d.socket, 'alloc', '4M', '--once', '--wait',
               '--json']
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        check('alloc --wait: waits', waits(d))
        process.send_signal(sig)
        out, err = process.communicate(timeout=30)
        check(f'alloc --wait: {sig.name} cancels', process.returncode == 1
              and 'HF_CANCELLED' in out, (out, err))
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
    check('alloc --wait: waits for its turn', waits(d))
    interrupt(holder, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    check('alloc --wait: gets what came free', process.returncode == 0
          and json.loads(out)['size'] == 4 * MIB, out)
    for bad in ('--wait=x', '--wait=-1', '--wait=1e9', '--wait=nan'):
        check(f'alloc {bad}: usage', d.run('alloc', '4K', bad).returncode == 2)
    check('alloc --wait --nowait: usage',
          d.run('alloc', '4K', '--wait', '--nowait').returncode == 2)
    pool = d.json('status')[1]['pool']
    check('status: what tenants keep', 'frames_idle' in pool
          and {'idle_bytes', 'spans_taken'} <= d.json('status')[1]['tenant'].keys())
    check('status: the stock', {'frames_ready', 'spans_ready', 'stock_hits',
          'stock_misses', 'waiting', 'reclaim_asks'} <= pool.keys(), pool)
    check('status: the stock, text', 'stock     ' in d.run('status').stdout)


def maps(d):
    rv, names = d.json('map', 'list')
    check('map: none at first', rv == 0 and names == [])
    holder, created = d.hold('map', 'create', 'shared')
    low = created['min']
    rv, found = d.json('map', 'find', 'shared', '4M', '--super')
    check('map find: superpages', rv == 0 and found['start'] % (2 * MIB) == 0
          and found['end'] - found['start'] == 4 * MIB, found)
    rv, again = d.json('map', 'find', 'shared', '64K', '--prot', 'r')
    check('map find: first fit', rv == 0 and again['start'] == found['end'])
    rv, error = d.json('map', 'insert', 'shared', hex(low), '4K')
    check('map insert: taken', rv == 1
          and error['error']['status'] == 'KERN_NO_SPACE', error)
    rv, _ = d.json('map', 'insert', 'shared', hex(low + 64 * MIB), '8K',
                   '--base')
    check('map insert: free', rv == 0)
    rv, shown = d.json('map', 'show', 'shared')
    kinds = [e['kind'] for e in shown['entries']]
    check('map show: JSON', rv == 0 and len(kinds) == 3
          and kinds[0] == 'super' and shown['entries'][1]['prot'] == 'r--',
          shown)
    text = d.run('map', 'show', 'shared').stdout
    check('map show: text', '3 entries' in text and ' RES ' in text
          and '--S-- ph object' in text and '----- sw object' in text, text)
    text = d.run('map', 'entries', 'shared').stdout
    check('map entries: text', '3 entries' in text and 'r-- rwx' in text, text)
    forks(d)
    rv, entry = d.json('map', 'lookup', 'shared', hex(low + 64 * MIB + 4096))
    check('map lookup: the page', rv == 0 and entry['pindex'] == 1, entry)
    rv, error = d.json('map', 'lookup', 'shared', hex(found['end']),
                       '--access', 'w')
    check('map lookup: protection', rv == 1
          and error['error']['status'] == 'KERN_PROTECTION_FAILURE', error)
    rv, room = d.json('map', 'findspace', 'shared', '1M')
    check('map findspace', rv == 0 and room['start'] == again['end'], room)
    check('map check', d.run('map', 'check', 'shared').returncode == 0)
    rv, _ = d.json('map', 'delete', 'shared', hex(low), '4M')
    rv, shown = d.json('map', 'show', 'shared')
    check('map delete', len(shown['entries']) == 2, shown)
    changes(d, low + 128 * MIB)
    places(d, low + 256 * MIB)
    whole(d)
    rv, names = d.json('map', 'list')
    # The submap stays for as long as the map that had a window to it.
    check('map list', [m['name'] for m in names] == ['shared', 'below'], names)
    rv, error = d.json('map', 'create', 'shared')
    check('map create: taken', rv == 1
          and error['error']['status'] == 'HF_EXISTS', error)
    check('map destroy', d.run('map', 'destroy', 'shared').returncode == 0)
    rv, error = d.json('map', 'show', 'shared')
    check('map show: unknown', rv == 1
          and error['error']['status'] == 'HF_UNKNOWN_ID', error)
    check('map create: SIGINT ends it', interrupt(holder, signal.SIGINT) == 0)


def forks(d):
    """A second map, copy on write."""
    child, made = d.hold('map', 'fork', 'shared', 'copy', '--mode', '640')
    check('map fork: JSON', made['name'] == 'copy'
          and made['parent'] == 'shared', made)
    rv, shown = d.json('map', 'show', 'copy')
    base = shown['entries'][1]
    check('map fork: copies are shared', rv == 0
          and len(shown['entries']) == 3 and base['procstat_flags'] == 'CN---'
          and base['refs'] == 2 and base['type'] == 'sw', shown)
    rv, error = d.json('map', 'fork', 'shared', 'copy')
    check('map fork: taken', rv == 1
          and error['error']['status'] == 'HF_EXISTS', error)
    check('map fork: usage', d.run('map', 'fork', 'shared').returncode == 2)
    check('map fork: SIGINT ends it', interrupt(child, signal.SIGINT) == 0)
    rv, error = d.json('map', 'show', 'copy')
    check('map fork: then it is gone', rv == 1
          and error['error']['status'] == 'HF_UNKNOWN_ID', error)


def changes(d, at):
    """What changes an entry, seen in `map show`."""
    def entry():
        return next(e for e in d.json('map', 'show', 'shared')[1]['entries']
                    if e['start'] <= at + 4096 < e['end'])

    start, page = hex(at + 4096), '4K'
    d.json('map', 'insert', 'shared', hex(at), '16K', '--max-prot', 'rw')
    rv, _ = d.json('map', 'protect', 'shared', start, page, 'r')
    check('map protect', rv == 0 and entry()['prot'] == 'r--'
          and entry()['start'] == at + 4096, entry())
    rv, error = d.json('map', 'protect', 'shared', start, page, 'rwx')
    check('map protect: over the maximum', rv == 1
          and error['error']['status'] == 'KERN_PROTECTION_FAILURE', error)
    rv, _ = d.json('map', 'inherit', 'shared', start, page, 'none')
    check('map inherit', rv == 0 and entry()['inheritance'] == 'none')
    rv, _ = d.json('map', 'madvise', 'shared', start, page, 'random')
    check('map madvise', rv == 0 and entry()['flags'] == 'random', entry())
    rv, _ = d.json('map', 'wire', 'shared', start, page)
    check('map wire', rv == 0 and entry()['wired_count'] == 1, entry())
    rv, _ = d.json('map', 'unwire', 'shared', start, page)
    check('map unwire', rv == 0 and entry()['wired_count'] == 0, entry())
    rv, _ = d.json('map', 'stack', 'shared', hex(at + MIB), '1M')
    before = d.json('map', 'show', 'shared')[1]['entries'][-2:]
    check('map stack: a gap below it', rv == 0
          and 'stack-gap' in before[0]['flags']
          and before[1]['end'] == at + 2 * MIB, before)
    rv, _ = d.json('map', 'growstack', 'shared', hex(at + MIB + 512 * 1024))
    grown = d.json('map', 'lookup', 'shared', hex(at + MIB + 512 * 1024))
    check('map growstack', rv == 0 and grown[0] == 0
          and grown[1]['prot'] == 'rw-', grown)
    rv, error = d.json('map', 'growstack', 'shared', hex(at + 64 * MIB))
    check('map growstack: no stack', rv == 1, error)
    deep = hex(at + MIB + 256 * 1024)
    rv, _ = d.json('map', 'fault', 'shared', deep, '--access', 'rw')
    grown = d.json('map', 'lookup', 'shared', deep)
    check('map fault: a stack grows', rv == 0 and grown[0] == 0, grown)
    rv, error = d.json('map', 'fault', 'shared', deep, '--access', 'x')
    check('map fault: protection', rv == 1
          and error['error']['status'] == 'KERN_PROTECTION_FAILURE', error)
    check('map fault: usage', d.run('map', 'fault', 'shared').returncode == 2)
    check('map growstack: no --access', d.run(
        'map', 'growstack', 'shared', deep, '--access', 'r').returncode == 2)
    d.json('map', 'delete', 'shared', hex(at), '2M')


def places(d, at):
    """What enters and asks, beside find and insert."""
    start = hex(at)

    def entry():
        return d.json('map', 'entry', 'shared', start)[1]

    rv, found = d.json('map', 'find', 'shared', '64K', '--addr',
                       hex(0x7ebffffff000), '--default', start)
    check('map find: from the default on', rv == 0 and found['start'] == at,
          found)
    rv, _ = d.json('map', 'fixed', 'shared', start, '8K', '--prot', 'r',
                   '--max-prot', 'r', '--cow', 'nosync+nocore')
    check('map fixed: in its place', rv == 0
          and entry()['entry']['flags'] == 'nosync,nocore'
          and entry()['entry']['end'] == at + 8192, entry())
    rv, _ = d.json('map', 'insert', 'shared', hex(at + 64 * MIB), '4K', '--cow',
                   'guard')
    rv2, area = d.json('map', 'find', 'shared', '1M', '--cow', 'stack',
                       '--addr', hex(at + 65 * MIB))
    guard, stack = (d.json('map', 'entry', 'shared', hex(a))[1]['entry']
                    for a in (at + 64 * MIB, area['end'] - 1))
    check('map insert: a guard, find: a stack', rv == rv2 == 0
          and guard['flags'] == 'guard' and stack['flags'] == 'grows-down',
          (guard, stack))
    for a, z in (at + 64 * MIB, 4096), (area['start'], MIB):
        d.run('map', 'delete', 'shared', hex(a), str(z))
    rv, error = d.json('map', 'fixed', 'shared', start, '8K', '--prot', 'rw',
                       '--max-prot', 'r')
    check('map fixed: refused', rv == 1
          and error['error']['status'] == 'KERN_INVALID_ARGUMENT', error)
    rv, none = d.json('map', 'entry', 'shared', hex(at + 8 * MIB))
    check('map entry: the predecessor', rv == 0 and not none['found']
          and none['predecessor']['end'] == at + (64 << 10), none)
    rv, room = d.json('map', 'aligned', 'shared', '64K', '16M', '--addr',
                      start)
    check('map aligned', rv == 0 and room['start'] % (16 * MIB) == 0
          and room['start'] > at, room)
    rv, error = d.json('map', 'aligned', 'shared', '64K', '3')
    check('map aligned: no power of two', rv == 1 and 'alignment must be'
          in error['error']['message'], error)
    for prot, want in ('r', True), ('rw', False):
        rv, truth = d.json('map', 'check-protection', 'shared', start, '64K',
                           prot)
        check('map check-protection ' + prot, rv == 0
              and truth['result'] == want, truth)
    check('map check-boundary', d.run('map', 'check-boundary', 'shared', start,
                                      '4K').stdout == 'yes\n')
    check('map sync', d.run('map', 'clean', 'shared', start, '64K', '--io',
                            '--invalidate').returncode == 0)
    rv, error = d.json('map', 'sync', 'shared', hex(at + 8 * MIB), '64K')
    check('map sync: a hole', rv == 1
          and error['error']['status'] == 'KERN_INVALID_ADDRESS', error)
    check('map simplify', d.run('map', 'simplify', 'shared',
                                start).returncode == 0)
    check('map simplify: nothing there', d.run(
        'map', 'simplify', 'shared', hex(at + 8 * MIB)).returncode == 1)
    d.json('map', 'wire', 'shared', start, '4K', '--system')
    rv, error = d.json('map', 'remove', 'shared', start, '64K')
    check('map wire: of the system, in the way', rv == 1
          and error['error']['status'] == 'KERN_WOULD_BLOCK', error)
    rv, _ = d.json('map', 'unwire', 'shared', start, '64K', '--system')
    check('map unwire: not all is wired', rv == 1)
    rv, _ = d.json('map', 'unwire', 'shared', start, '4K', '--system')
    check('map unwire: of the system', rv == 0)
    holder, _ = d.hold('map', 'create', 'below')
    d.json('map', 'insert', 'below', start, '64K')
    d.json('map', 'remove', 'shared', start, '64K')
    d.json('map', 'insert', 'shared', start, '64K')
    rv, _ = d.json('map', 'submap', 'shared', start, '64K', 'below')
    check('map submap', rv == 0 and entry()['entry']['flags'] == 'submap',
          entry())
    rv, error = d.json('map', 'destroy', 'below')
    check('map destroy: not a submap', rv == 1 and 'windows to it'
          in error['error']['message'], error)
    d.json('map', 'remove', 'shared', start, '64K')
    interrupt(holder, signal.SIGINT)


def whole(d):
    """The map as a whole: figures, limits, flags, mode."""
    rv, stat = d.json('map', 'stat', 'shared')
    check('map stat', rv == 0 and stat['mode'] == 'rw-------'
          and stat['owner'] == os.getuid() and stat['may_change']
          and stat['nentries'] == len(
              d.json('map', 'show', 'shared')[1]['entries']), stat)
    text = d.run('map', 'stat', 'shared').stdout
    check('map stat: text', 'mode      rw-------' in text, text)
    check('map chmod', d.run('map', 'chmod', 'shared', '664').returncode == 0
          and d.json('map', 'ls')[1][0]['mode'] == 'rw-rw-r--')
    rv, error = d.json('map', 'chmod', 'shared', '66')
    check('map chmod: locks the owner out', rv == 1
          and '0400' in error['error']['message'], error)
    check('map chgrp', d.run('map', 'chgrp', 'shared',
                             str(os.getgid())).returncode == 0)
    text = d.run('map', 'ls', '--all').stdout
    check('map ls: text', 'rw-rw-r--' in text and 'shared' in text, text)
    rv, limits = d.json('map', 'limits', 'shared', 'nentries=1',
                        'cluster-anon=2')
    check('map limits', rv == 0 and limits['nentries'] == 1
          and limits['cluster-anon'] == 2, limits)
    rv, error = d.json('map', 'find', 'shared', '2M', '--prot', 'x')
    check('map limits: they bind', rv == 1
          and error['error']['status'] == 'KERN_RESOURCE_SHORTAGE', error)
    rv, error = d.json('map', 'limits', 'shared', 'overcommit=9')
    check('map limits: refused', rv == 1 and 'overcommit'
          in error['error']['message'], error)
    rv, limits = d.json('map', 'limits', 'shared', 'nentries=0')
    check('map limits: none', rv == 0 and limits['nentries'] == 0, limits)
    d.json('map', 'flags', 'shared', 'set', 'wxorx')
    rv, error = d.json('map', 'find', 'shared', '4K', '--prot', 'rwx')
    check('map flags: W^X holds', rv == 1
          and error['error']['status'] == 'KERN_PROTECTION_FAILURE', error)
    rv, _ = d.json('map', 'flags', 'shared', 'clear', 'wxorx+aslr')
    check('map flags: cleared', rv == 0)
    user = f'{os.getuid()}:shared'
    check('map: OWNER:NAME', d.run('map', 'stat', user).returncode == 0)
    rv, error = d.json('map', 'stat', '4711:shared')
    check('map: nobody of that number', rv == 1
          and error['error']['status'] == 'HF_UNKNOWN_ID', error)


def usage(d):
    for args in (['alloc'], ['alloc', '1Q'], ['alloc', '1', '2'], ['nothing'],
                 ['status', 'x'], ['pool', '--rows', '0'], ['pool', 'melt'],
                 ['pool', 'grow'], ['pool', 'grow', '1', '2'],
                 ['pool', 'drain', '1'], ['verify', 'x'], ['release', '0'],
                 ['release', '1', '2'], ['release', '1', '--all'], ['map'],
                 ['map', 'nothing'], ['map', 'find', 'a'], ['--nothing'],
                 ['map', 'find', 'a', '1', '--space', 'x'], ['map', 'list', 'x'],
                 ['map', 'create'], ['map', 'create', ''],
                 ['map', 'fork', 'a', ''], ['map', 'protect', 'a', '0', '4K'],
                 ['map', 'inherit', 'a', '0', '4K', 'x'],
                 ['map', 'chmod', 'a', '9'], ['map', 'limits', 'a', 'x=1'],
                 ['map', 'limits', 'a', 'vmem'], ['map', 'flags', 'a', 'b'],
                 ['map', 'flags', 'a', 'set', 'b'], ['map', 'stat'],
                 ['map', 'stat', 'no-such-user:a'], ['map', 'entry', 'a'],
                 ['map', 'insert', 'a', '0', '4K', '--cow', 'x'],
                 ['map', 'check-protection', 'a', '0', '4K'],
                 ['map', 'create', 'a', '--mode', '1000'],
                 ['map', 'create', 'a', '--group', 'no-such-group'],
                 ['alloc', '1', '--exec'], []):
        result = d.run(*args)
        check('usage: holdfast ' + ' '.join(args), result.returncode == 2
              and 'help' in result.stderr and result.stdout == '', result)
    for verb in ([], ['status'], ['pool'], ['alloc'], ['map'], ['verify'],
                 ['release']):
        result = d.run(*verb, '--help')
        check('help: holdfast ' + ' '.join(verb), result.returncode == 0
              and 'SYNOPSIS' in result.stdout and 'EXIT STATUS'
              in result.stdout and max(map(len, result.stdout.split('\n')))
              <= 80, result.stdout)
    result = subprocess.run([CLI, '-s', '/nowhere/socket', 'status', '-j'],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    error = json.loads(result.stdout)['error']
    check('no daemon: 3, and where it was looked for', result.returncode == 3
          and error['status'] == 'ENOENT'
          and '/nowhere/socket' in error['message'], result)
    for args, says in ((['--addr'], '--addr'), (['--none'], "'--none'"),
                       (['--json', '-xj'], "'-xj'")):
        result = d.run('map', 'find', 'a', '1', *args)
        check(f'usage: {says}', result.returncode == 2
              and result.stderr.startswith('holdfast map: ')
              and says in result.stderr, result)


def dark():
    """A tenant that is not told addresses."""
    d = Daemon()
    rv, pool = d.json('pool')
    check('dark pool: counts only', rv == 0 and not pool['addresses_told']
          and 'free' not in pool, pool)
    text = d.run('pool').stdout
    check('dark pool: bar', '.' * 64 in text and 'not told' in text, text)
    rv, buf = d.json('alloc', '2M', '--once')
    check('dark alloc: no address', rv == 0 and 'pa' not in buf, buf)
    holder, _ = d.hold('alloc', '2M')
    d.process.kill()
    d.process.wait()
    holder.communicate(timeout=30)
    check('hold: 3 when the daemon goes away', holder.returncode == 3)
    os.path.exists(d.socket) and os.unlink(d.socket)
    d.dir.cleanup()


def subjects():
    """Who is no operator."""
    d = Daemon('--pool-1g', '2')
    rv, pool = d.json('pool')
    check('big frames: shown', pool['big_total'] == 2
          and pool['big_size'] == 1024 * MIB
          and pool['frames_total'] == 128 + 1024, pool)
    if os.getuid() == 0:
        result = d.run('pool', 'demote', '1')
        check('pool demote', result.returncode == 0
              and result.stdout.startswith('1 of 1'), result)
        os.chmod(d.dir.name, 0o755)
        result = d.run('pool', 'drain', user=65534)
        check('pool drain: not for nobody', result.returncode == 1
              and 'operator' in result.stderr, result)
        check('release: not for nobody',
              d.run('release', '--all', user=65534).returncode == 1)
        check('verify: for everybody',
              d.run('verify', user=65534).returncode == 0)
        os.chmod(d.dir.name, 0o700)
    d.stop()


def domains():
    """Two NUMA nodes of 64 frames each."""
    d = Daemon('--allow-addresses', 'all', '--sim-nodes', '2')

    def node(*args):
        rv, buf = d.json('alloc', '2M', '--once', *args)
        return buf['node'] if rv == 0 else buf['error']['message']

    check('alloc --nodes: only these', node('--nodes', '1') == 1
          and node('--nodes', '0') == 0)
    check('alloc --policy round-robin: takes turns',
          [node('--policy', 'round-robin') for _ in range(4)] == [1, 0, 1, 0])
    check('alloc --policy prefer: that node',
          node('--policy', 'prefer', '--node', '1') == 1
          and node('--policy', 'prefer', '--node', '0') == 0)
    holder, buf = d.hold('alloc', '128M', '--node', '1')
    check('alloc --node: all of it', buf['node'] == 1, buf)
    check('alloc --policy prefer: falls back',
          node('--policy', 'prefer', '--node', '1') == 0)
    check('alloc --nodes: does not fall back',
          'no free memory of domain 1' in str(node('--nodes', '1')))
    interrupt(holder, signal.SIGINT)
    rv, buf = d.json('alloc', '16M', '--once', '--policy', 'interleave')
    check('alloc --policy interleave', rv == 0, buf)
    check('alloc --policy first-touch: where this runs',
          node('--policy', 'first-touch') == 0)
    check('alloc --policy prefer: needs a node',
          'domain must be' in str(node('--policy', 'prefer')))
    check('alloc --nodes: a bound', 'nodes below 8'
          in str(node('--nodes', '0,9')))
    check('alloc --node: a bound', 'below 8; it is 9'
          in str(node('--node', '9')))
    check('alloc --node: which there are', 'has memory (0, 1); it is 5'
          in str(node('--node', '5')))
    for bad in (['--nodes', '32'], ['--nodes', '0,'], ['--nodes', 'x'],
                ['--nodes', ''], ['--policy', 'random']):
        check(f'alloc {" ".join(bad)}: usage',
              d.run('alloc', '4K', *bad).returncode == 2)
    check('alloc --help: says it', '--policy POLICY'
          in d.run('alloc', '--help').stdout)
    d.stop()


def daemon_options():
    for words, options in (
            ('pool must be a multiple of frame-size, 2097152, and not 0; '
             'it is 3', ['--pool', '3']),
            ("pool-max must be at least the pool's size, 67108864; it is "
             '33554432', ['--pool', '64M', '--pool-max', '32M']),
            ("pool-min must be at most the pool's size, 67108864; it is "
             '134217728', ['--pool', '64M', '--pool-min', '128M']),
            ('sim-nodes must be at most the number of frames, 1; it is 2',
             ['--pool', '2M', '--sim-nodes', '2']),
            ('stock must be at most 100; it is "101"', ['--stock', '101']),
            ('pool must be at most 18446744073709551615',
             ['--pool', '99999999T'])):
        result = subprocess.run([DAEMON, '--backend', 'sim', *options],
                                capture_output=True, text=True, timeout=20)
        check(f'holdfastd {" ".join(options)}: refused',
              result.returncode == 2 and words in result.stderr, result)


daemon = Daemon('--allow-addresses', 'all', '--pool-max', '288M',
                '--pool-min', '64M', '--operators', str(os.getuid()))
for case in (status_and_pool, operators, truth, quarantine, alloc, waiting,
             maps, usage):
    case(daemon)
daemon.stop()
daemon_options()
domains()
dark()
subjects()
print(f'{passed} passed, {failed} failed, 0 skipped')
sys.exit(failed != 0)
