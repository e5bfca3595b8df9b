// Which link events make a pod's MAC doubtful: those of its own end, with a MAC that is not the one that is known.
import type { RouteEvent } from '@sinabro/node-netlink'
import { expect, test } from 'vitest'
import { PodMacs } from './macs.ts'

const HOST_INDEX = 40
const pod = { endpointId: 1, incarnation: 7, podMac: '02:00:00:00:00:01' }
const OTHER = '02:00:00:00:00:02'

function heard(peerIndex: number, mac: string, change: 'new' | 'del' = 'new'): RouteEvent {
  return { kind: 'link', change, link: { index: 2, peerIndex, mac } } as RouteEvent
}

function known(): PodMacs {
  const macs = new PodMacs()
  macs.know(pod, HOST_INDEX, pod.podMac)
  return macs
}

test('a pod that nobody has looked at is doubtful, and has the MAC of its birth till then', () => {
  const macs = new PodMacs()
  expect(macs.isDoubtful(pod)).toBe(true)
  expect(macs.of(pod)).toBe(pod.podMac)
  macs.know(pod, HOST_INDEX, OTHER)
  expect(macs.isDoubtful(pod)).toBe(false)
  expect(macs.of(pod)).toBe(OTHER)
})

test.each([
  ['another MAC of its own end', heard(HOST_INDEX, OTHER), true],
  ['the MAC that is known', heard(HOST_INDEX, pod.podMac), false],
  ['another pair', heard(HOST_INDEX + 1, OTHER), false],
  ['its end', heard(HOST_INDEX, OTHER, 'del'), false],
])('hear() of %s', (_what, event, isDoubtful) => {
  const macs = known()
  expect(macs.hear(event)).toBe(isDoubtful)
  expect(macs.isDoubtful(pod)).toBe(isDoubtful)
})

test('doubtAll() doubts those that are known; forget() forgets the device too', () => {
  const macs = known()
  macs.doubtAll()
  expect(macs.isDoubtful(pod)).toBe(true)
  macs.forget(pod)
  expect(macs.hear(heard(HOST_INDEX, OTHER))).toBe(false)
})
