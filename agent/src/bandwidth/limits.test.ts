// What runtimes ask for as bandwidth: read, or refused with the member that is wrong.
import { expect, test } from 'vitest'
import { isSameBandwidth, parseBandwidth } from './limits.ts'
import { computeBucket } from './shape.ts'

const M = 1_000_000

test.each([
  [undefined, undefined],
  [null, undefined],
  [{}, undefined],
  [{ ingressRate: 0, ingressBurst: 0, egressRate: null }, undefined],
  [{ ingressRate: M, ingressBurst: 2 * M }, { ingress: { rateBitsPerSec: M, burstBits: 2 * M } }],
  [
    // As containerd fills it in.
    { IngressRate: M, IngressBurst: 2 ** 32 - 1, EgressRate: 0, EgressBurst: 0 },
    { ingress: { rateBitsPerSec: M, burstBits: 2 ** 32 - 1 } },
  ],
])('parseBandwidth() reads %j', (value, expected) => {
  expect(parseBandwidth(value)).toEqual(expected)
})

test.each([
  ['10M', 'expected an object'],
  [[], 'expected an object'],
  [{ ingressRate: '10M', ingressBurst: 1 }, 'ingressRate: expected a whole number of bits'],
  [{ ingressRate: -1, ingressBurst: 1 }, 'ingressRate: expected a whole number of bits'],
  [{ egressRate: 1.5, egressBurst: 1 }, 'egressRate: expected a whole number of bits'],
  [{ egressRate: 2 ** 60, egressBurst: 1 }, 'egressRate: expected a whole number of bits'],
  [{ ingressRate: M }, 'ingressRate needs ingressBurst'],
  [{ egressBurst: M }, 'egressBurst needs egressRate'],
  [{ egressRate: 7, egressBurst: M }, 'egressRate: expected at least 8'],
  [{ ingressRate: M, ingressBurst: 2 ** 36 }, 'ingressBurst: expected at most'],
])('parseBandwidth() refuses %j', (value, message) => {
  expect(() => parseBandwidth(value)).toThrow(message)
})

test('isSameBandwidth() compares both directions', () => {
  const limit = { rateBitsPerSec: M, burstBits: M }
  expect(isSameBandwidth(undefined, undefined)).toBe(true)
  expect(isSameBandwidth({ ingress: limit }, { ingress: { ...limit } })).toBe(true)
  expect(isSameBandwidth({ ingress: limit }, { egress: limit })).toBe(false)
  expect(isSameBandwidth({ ingress: limit }, undefined)).toBe(false)
})

test('computeBucket() takes at least a frame, and lets no burst swell the queue', () => {
  expect(computeBucket({ rateBitsPerSec: M, burstBits: 8 })).toEqual({
    rateBitsPerSec: M,
    burstBytes: 18 * 1024,
    limitBytes: 128 * 1024,
  })
  const large = computeBucket({ rateBitsPerSec: 100_000 * M, burstBits: 2 ** 31 - 1 })
  expect(large).toMatchObject({ burstBytes: 2 ** 28 - 1, limitBytes: 16 * 1024 * 1024 })
})
