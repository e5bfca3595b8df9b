// A full and a read-only disk under the state folder: refused with a code, nothing changed, and all well once there is room again.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

test('Ipam refuses with a code when it cannot write, changes nothing, and goes on when it can', () => {
  const mountPoint = mkdtempSync(join(tmpdir(), 'sinabro-disk-'))
  try {
    const program = join(import.meta.dirname, 'testing/bad-disk.ts')
    const argv = ['--mount', '--propagation', 'private', process.execPath, program, mountPoint]
    expect(execFileSync('unshare', argv, { encoding: 'utf8' }).trim().split('\n')).toEqual([
      'allocate a: 10.244.1.2 fd00:1::2',
      'allocate b: disk-full',
      'allocate b: disk-full',
      'used: 1 1',
      'release a: 10.244.1.2 fd00:1::2',
      'allocate b: 10.244.1.3 fd00:1::3',
      'allocate c: read-only',
      'release b: read-only',
      'used: 1 1',
      'allocate b: 10.244.1.3 fd00:1::3',
      'open: read-only',
      'allocate c: 10.244.1.4 fd00:1::4',
      'after a restart: 10.244.1.3 fd00:1::3, 10.244.1.4 fd00:1::4',
    ])
  } finally {
    rmdirSync(mountPoint)
  }
})
