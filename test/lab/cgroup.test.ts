// Finding cgroup2 among a machine's mounts.
import { expect, test } from 'vitest'
import { cgroup2MountPoint } from './cgroup.ts'

test('cgroup2MountPoint() finds it beside v1 controllers', () => {
  const mounts = `tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`
  expect(cgroup2MountPoint(mounts)).toBe('/sys/fs/cgroup/unified')
})

test('cgroup2MountPoint() finds it alone, with a blank in its path', () => {
  expect(cgroup2MountPoint('cgroup2 /a\\040b cgroup2 rw 0 0\n')).toBe('/a b')
})

test('cgroup2MountPoint() is undefined where only v1 is mounted', () => {
  expect(cgroup2MountPoint('cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n')).toBeUndefined()
})
