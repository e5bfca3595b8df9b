// Where cgroup2 is mounted, by what /proc/self/mountinfo says.
import { expect, test } from 'vitest'
import { findCgroupRoot } from './cgroup-hooks.ts'

test.each([
  [
    'one',
    ['30 25 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw'],
    { path: '/sys/fs/cgroup', isAbove: false },
  ],
  [
    'one beside those of version 1',
    [
      '40 31 0:37 / /sys/fs/cgroup/pids rw shared:3 - cgroup cgroup rw,pids',
      '41 31 0:38 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw',
    ],
    { path: '/sys/fs/cgroup/unified', isAbove: false },
  ],
  [
    'the one with the root',
    [
      '30 25 0:27 /kubepods/pod1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw',
      '31 25 0:27 / /run/the\\040root rw - cgroup2 cgroup2 rw',
    ],
    { path: '/run/the root', isAbove: false },
  ],
  [
    "a container's own, and the node's",
    [
      '30 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw',
      '31 25 0:27 /../../.. /host/sys/fs/cgroup rw - cgroup2 cgroup2 rw',
    ],
    { path: '/host/sys/fs/cgroup', isAbove: true },
  ],
  ['none', ['25 1 0:22 / /proc rw - proc proc rw', ''], undefined],
])('findCgroupRoot(): %s', (_what, lines, root) => {
  expect(findCgroupRoot(lines.join('\n'))).toEqual(root)
})
