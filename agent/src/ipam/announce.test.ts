// The pool's condition and its event: once when it becomes full, again when it became full again.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Recorder } from '../cluster/recorder.ts'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { announcePools, poolCondition } from './announce.ts'
import { Ipam } from './ipam.ts'

test.each([
  [[], 'False', 'NoRange'],
  [[{ range: 'r', used: 0, capacity: 10 }], 'True', 'AddressesAvailable'],
  [[{ range: 'r', used: 9, capacity: 10 }], 'True', 'FewAddressesLeft'],
  [[{ range: 'r', used: 10, capacity: 10 }], 'False', 'PoolFull'],
  [
    [
      { range: 'a', used: 1, capacity: 65_534 },
      { range: 'b', used: 1, capacity: 1 },
    ],
    'False',
    'PoolFull',
  ],
])('poolCondition(%j) is %s %s', (usage, status, reason) => {
  expect(poolCondition(usage)).toMatchObject({ type: 'PodAddressesAvailable', status, reason })
})

test('announcePools() follows what is given, given back and added', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sinabro-announce-'))
  try {
    const clock = new FakeClock()
    const ipam = await Ipam.open({ dir, clock, log: silentLog })
    const sink = new Recorder({ clock, log: silentLog })
    const end = announcePools({ nodeName: 'n1', ipam, sink })
    const reason = () => sink.conditions()[0]?.reason
    expect(reason()).toBe('NoRange')
    ipam.setRanges(['10.1.0.0/30'])
    expect(reason()).toBe('AddressesAvailable')
    const key = { network: 'n', containerId: 'c', ifname: 'eth0' }
    for (let round = 0; round < 2; round++) {
      await ipam.allocate({ key, netns: '/n' })
      expect(reason()).toBe('PoolFull')
      await ipam.release(key)
      expect(reason()).toBe('AddressesAvailable')
    }
    expect(sink.events()).toMatchObject([
      { reason: 'PodAddressesExhausted', count: 2, about: { kind: 'Node', name: 'n1' } },
    ])
    end()
    ipam.setRanges([])
    expect(reason()).toBe('AddressesAvailable')
  } finally {
    rmSync(dir, { recursive: true })
  }
})
