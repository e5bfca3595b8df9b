// Taking captured packets apart, with frames that went between two lab nodes.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { decodePcap, decodeVxlan } from './capture.ts'
import { LabError } from './errors.ts'

test('decodePcap() leaves a record that is still being written', () => {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4)
  const record = Buffer.alloc(16 + 3, 7)
  record.writeUInt32LE(3, 8)
  const whole = Buffer.concat([header, record, record])
  expect(decodePcap(whole)).toEqual([Buffer.from([7, 7, 7]), Buffer.from([7, 7, 7])])
  expect(decodePcap(whole.subarray(0, -1))).toHaveLength(1)
  expect(decodePcap(header.subarray(0, 10))).toEqual([])
})

test('decodePcap() refuses what is no capture', () => {
  expect(() => decodePcap(Buffer.alloc(24))).toThrow(LabError)
})

test.each([0, 13, 14, 33, 41])('decodeVxlan() of %i bytes is undefined', (length) => {
  expect(decodeVxlan(Buffer.alloc(length, 0x08))).toBeUndefined()
})

const [pingIpv4 = Buffer.alloc(0), pingIpv6 = Buffer.alloc(0)] = readFileSync(
  join(import.meta.dirname, 'testdata/vxlan-pings.hex'),
  'utf8',
)
  .split('\n')
  .filter((line) => !line.startsWith('#'))
  .map((line) => Buffer.from(line, 'hex'))

const outside = {
  outerBytes: pingIpv4.length,
  targetPort: 8472,
  vni: 1,
  innerSourceMac: '0e:5b:ac:12:00:01',
  innerTargetMac: '0e:5b:ac:12:00:02',
  outer: { family: 4, source: '172.18.0.1', target: '172.18.0.2', protocol: 17, ttl: 64 },
}

test('decodeVxlan() of a ping over IPv4', () => {
  expect(decodeVxlan(pingIpv4)).toMatchObject({
    ...outside,
    innerBytes: 98,
    inner: { family: 4, source: '10.244.1.2', target: '10.244.2.2', protocol: 1, ttl: 63 },
  })
})

test('decodeVxlan() of a ping over IPv6', () => {
  expect(decodeVxlan(pingIpv6)).toMatchObject({
    ...outside,
    outerBytes: 168,
    inner: { source: 'fd00:10:244:1::2', target: 'fd00:10:244:2::2', protocol: 58, ttl: 63 },
  })
})

test('decodeVxlan() of every strict prefix neither fails nor invents a packet it has no header of', () => {
  for (let length = 0; length < pingIpv6.length; length++) {
    const found = decodeVxlan(pingIpv6.subarray(0, length))
    if (length < 104) expect(found, `${length} bytes`).toBeUndefined()
  }
})
