// Addresses as attachments see them: the same answer for the same key, nothing twice, nothing lost, clear refusals.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { type AllocationRequest, hostDeviceOf } from './allocation.ts'
import type { CrashPoint } from './crash-point.ts'
import { Ipam } from './ipam.ts'
import { formatRecordName } from './record.ts'

let dir: string
const clock = new FakeClock()

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sinabro-ipam-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

async function open(ranges: string[] = ['10.244.1.0/29'], crashPoint?: CrashPoint): Promise<Ipam> {
  const options = { dir, clock, log: silentLog }
  const ipam = await Ipam.open(crashPoint === undefined ? options : { ...options, crashPoint })
  ipam.setRanges(ranges)
  return ipam
}

function request(containerId: string, ifname = 'eth0'): AllocationRequest {
  return {
    key: { network: 'sinabro', containerId, ifname },
    netns: `/run/netns/${containerId}`,
    podNamespace: 'default',
    podName: `pod-${containerId}`,
    sequence: { bootId: 'b', bootTimeUs: 12 },
  }
}

const recordNames = (): string[] => readdirSync(join(dir, 'allocations')).sort()

test('allocate() gives one address per range, leaving out the network, the node and the IPv4 broadcast', async () => {
  const ipam = await open(['10.244.1.0/29', 'fd00:1::/64'])
  const given = []
  for (const id of ['a', 'b', 'c', 'd', 'e'])
    given.push((await ipam.allocate(request(id))).addresses)
  expect(given).toEqual([
    ['10.244.1.2', 'fd00:1::2'],
    ['10.244.1.3', 'fd00:1::3'],
    ['10.244.1.4', 'fd00:1::4'],
    ['10.244.1.5', 'fd00:1::5'],
    ['10.244.1.6', 'fd00:1::6'],
  ])
  await expect(ipam.allocate(request('f'))).rejects.toMatchObject({ code: 'pool-exhausted' })
})

test('allocate() gives all families or none', async () => {
  const ipam = await open(['fd00:1::/64', '10.244.1.0/30'])
  const { addresses } = await ipam.allocate(request('a'))
  expect(addresses).toEqual(['fd00:1::2', '10.244.1.2'])
  await expect(ipam.allocate(request('b'))).rejects.toMatchObject({ code: 'pool-exhausted' })
  expect(ipam.usage()).toEqual([
    { range: 'fd00:1::/64', capacity: 65_534, used: 1 },
    { range: '10.244.1.0/30', capacity: 1, used: 1 },
  ])
})

test('allocate() answers the same key the same, at once, again and after a restart', async () => {
  const ipam = await open()
  const [one, two] = await Promise.all([ipam.allocate(request('a')), ipam.allocate(request('a'))])
  expect(two).toEqual(one)
  expect(await ipam.allocate(request('a'))).toEqual(one)
  const restarted = await open()
  expect(restarted.list()).toEqual([one])
  expect(await restarted.allocate(request('a'))).toEqual(one)
  expect(recordNames()).toHaveLength(1)
})

test('allocate() tells interfaces of one container, and networks, apart', async () => {
  const ipam = await open()
  const first = await ipam.allocate(request('a', 'eth0'))
  const second = await ipam.allocate(request('a', 'eth1'))
  expect(second.addresses).not.toEqual(first.addresses)
  expect(second.hostDevice).not.toBe(first.hostDevice)
})

test('allocate() has the record on disk when it resolves, and only under its final name', async () => {
  const ipam = await open()
  const allocation = await ipam.allocate(request('a'))
  expect(recordNames()).toEqual([formatRecordName(allocation)])
  const text = readFileSync(join(dir, 'allocations', formatRecordName(allocation)), 'utf8')
  expect(JSON.parse(text)).toEqual({ version: 1, ...allocation })
})

test('allocate() serves many at once without giving anything twice', async () => {
  const ipam = await open(['10.244.0.0/24', 'fd00:1::/120'])
  const ids = Array.from({ length: 110 }, (_, index) => `c${index}`)
  const all = await Promise.all(ids.map((id) => ipam.allocate(request(id))))
  for (const field of ['endpointId', 'incarnation', 'hostDevice'] as const) {
    expect(new Set(all.map((one) => one[field])).size).toBe(110)
  }
  expect(new Set(all.flatMap(({ addresses }) => addresses)).size).toBe(220)
})

test('release() makes an address the last to be given again, across restarts', async () => {
  let ipam = await open()
  for (const id of ['a', 'b', 'c', 'd', 'e']) await ipam.allocate(request(id))
  for (const id of ['c', 'a', 'b']) await ipam.release(request(id).key)
  ipam = await open()
  const next = []
  for (const id of ['x', 'y', 'z']) next.push(...(await ipam.allocate(request(id))).addresses)
  expect(next).toEqual(['10.244.1.4', '10.244.1.2', '10.244.1.3'])
})

test('release() lets nobody have the address before its removal is on disk: a power cut could undo it', async () => {
  const reached = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const ipam = await open(['10.244.1.0/30'], async (name) => {
    if (name !== 'ipam.record.removed') return
    reached.resolve()
    await goOn.promise
  })
  await ipam.allocate(request('a'))
  const released = ipam.release(request('a').key)
  await reached.promise
  await expect(ipam.allocate(request('b'))).rejects.toMatchObject({ code: 'pool-exhausted' })
  goOn.resolve()
  await released
  expect((await ipam.allocate(request('b'))).addresses).toEqual(['10.244.1.2'])
})

test('allocate() prefers addresses that nobody has had', async () => {
  const ipam = await open()
  await ipam.allocate(request('a'))
  await ipam.release(request('a').key)
  expect((await ipam.allocate(request('b'))).addresses).toEqual(['10.244.1.3'])
})

test('allocate() again, by a later ADD, renews sequence, namespace and era on disk; by an earlier one it does not', async () => {
  const at = (bootTimeUs: number, netns: string, bootId = 'b') => ({
    ...request('a'),
    netns,
    sequence: { bootId, bootTimeUs },
  })
  const first = await (await open()).allocate(at(12, '/run/one'))
  expect(first.era).toBeUndefined()
  const era = { bootId: 'b', hostCookie: '1' }
  const ipam = await Ipam.open({ dir, clock, log: silentLog, era })
  const later = await ipam.allocate(at(20, '/run/two'))
  expect(later).toEqual({ ...first, ...at(20, '/run/two'), era })
  expect(await ipam.allocate(at(15, '/run/three'))).toEqual(later)
  const restarted = await open()
  expect(restarted.list()).toEqual([later])
  const rebooted = await restarted.allocate(at(1, '/run/four', 'next'))
  expect(rebooted.netns).toBe('/run/four')
  expect(recordNames()).toHaveLength(1)
})

test('allocate() after a release that failed half-way has the record on disk again', async () => {
  let isFull = false
  const ipam = await open(['10.244.1.0/29'], (name) => {
    if (isFull && name === 'ipam.record.removed') throw Object.assign(new Error(), { code: 'EIO' })
  })
  const given = await ipam.allocate(request('a'))
  isFull = true
  await expect(ipam.release(request('a').key)).rejects.toMatchObject({ code: 'storage' })
  expect(recordNames()).toEqual([])
  expect(await ipam.allocate(request('a'))).toEqual(given)
  expect((await open()).list()).toEqual([given])
})

test('list() gives the attachments of one network, or all', async () => {
  const ipam = await open()
  await ipam.allocate(request('a'))
  await ipam.allocate({ ...request('b'), key: { ...request('b').key, network: 'other' } })
  expect(ipam.list('other').map(({ key }) => key.containerId)).toEqual(['b'])
  expect(ipam.list('none')).toEqual([])
  expect(ipam.list()).toHaveLength(2)
})

test('subscribe() tells of what is given, given back and newly possible', async () => {
  const ipam = await open()
  const used: (number | undefined)[] = []
  const end = ipam.subscribe(() => used.push(ipam.usage()[0]?.used))
  await ipam.allocate(request('a'))
  await ipam.release(request('a').key)
  ipam.setRanges([])
  end()
  ipam.setRanges(['10.244.1.0/29'])
  expect([...new Set(used)]).toEqual([1, 0, undefined])
})

test('release() says what the key held, and of an unknown key nothing', async () => {
  const ipam = await open()
  const allocation = await ipam.allocate(request('a'))
  expect(await ipam.release(request('a').key)).toEqual(allocation)
  expect(await ipam.release(request('a').key)).toBeUndefined()
  expect(await ipam.release(request('never').key)).toBeUndefined()
  expect(recordNames()).toEqual([])
})

test('incarnations never come twice: not after release, restarts or the loss of the counter', async () => {
  const seen = new Set<number>()
  const ids = new Set<number>()
  for (let life = 0; life < 5; life++) {
    if (life === 3) rmSync(join(dir, 'counters.json'))
    if (life === 4) writeFileSync(join(dir, 'counters.json'), '{"version":1,"incarn')
    const ipam = await open()
    for (const id of ['a', 'b', 'c']) {
      const { incarnation, endpointId } = await ipam.allocate(request(`${life}${id}`))
      expect(seen.has(incarnation)).toBe(false)
      seen.add(incarnation)
      ids.add(endpointId)
      await ipam.release(request(`${life}${id}`).key)
    }
    await clock.advance(3_600_000)
  }
  expect(seen.size).toBe(15)
  expect(Math.max(...ids)).toBeLessThan(2_000)
})

test('setRanges() refuses what cannot be used and keeps what it has', async () => {
  const ipam = await open()
  for (const bad of [
    ['10.244.0.0/15'],
    ['10.244.0.0/31'],
    ['fd00::/47'],
    ['fd00::/121'],
    ['10.244.1.1/24'],
    ['10.244.1.0'],
    ['10.244.1.0/24', '10.244.2.0/24'],
    ['nonsense'],
  ]) {
    expect(() => ipam.setRanges(bad)).toThrow(expect.objectContaining({ code: 'range-invalid' }))
  }
  expect(ipam.ranges).toEqual(['10.244.1.0/29'])
})

test('setRanges() at run time gives from the new range and leaves the old addresses with their owners', async () => {
  const ipam = await open()
  const before = await ipam.allocate(request('a'))
  ipam.setRanges(['10.244.9.0/24'])
  expect((await ipam.allocate(request('b'))).addresses).toEqual(['10.244.9.2'])
  expect(ipam.get(request('a').key)).toEqual(before)
  ipam.setRanges(['10.244.1.0/29'])
  expect((await ipam.allocate(request('c'))).addresses).toEqual(['10.244.1.3'])
})

test('setRanges() during an allocation does not give its address to another', async () => {
  const reached = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const ipam = await open(['10.244.1.0/29'], async (name) => {
    if (name !== 'ipam.record.written') return
    reached.resolve()
    await goOn.promise
  })
  const slow = ipam.allocate(request('a'))
  await reached.promise
  ipam.setRanges(['10.244.9.0/24'])
  ipam.setRanges(['10.244.1.0/29'])
  const other = ipam.allocate(request('b'))
  goOn.resolve()
  expect((await slow).addresses).toEqual(['10.244.1.2'])
  expect((await other).addresses).toEqual(['10.244.1.3'])
})

test('allocate() says so when the node has no range', async () => {
  const ipam = await open([])
  await expect(ipam.allocate(request('a'))).rejects.toMatchObject({ code: 'no-range' })
})

test('a damaged record is set aside, its addresses kept out of use, until its pod is deleted', async () => {
  const damages: ((text: string) => string)[] = [
    () => '',
    (text) => text.slice(0, 40),
    (text) => text.replace('"version":1', '"version":2'),
    (text) => text.replace('10.244.1.2', '10.244.1.3'),
    (text) => text.replace('"containerId":"a"', '"containerId":"b"'),
    (text) => text.replace(/"incarnation":\d+/, '"incarnation":"x"'),
    (text) => text.replace('{"version"', '{"portMappings":[{"hostPort":-1}],"version"'),
    (text) => text.replace(hostDeviceOf(request('a').key), 'eth0'),
  ]
  for (const damage of damages) {
    let ipam = await open()
    const path = join(dir, 'allocations', formatRecordName(await ipam.allocate(request('a'))))
    writeFileSync(path, damage(readFileSync(path, 'utf8')))
    for (let restart = 0; restart < 2; restart++) {
      ipam = await open()
      expect(ipam.quarantined()).toMatchObject([{ addresses: ['10.244.1.2'] }])
      expect(ipam.get(request('a').key)).toBeUndefined()
      await expect(ipam.allocate(request('a'))).rejects.toMatchObject({ code: 'record-corrupt' })
      expect((await ipam.allocate(request(`z${restart}`))).addresses).not.toContain('10.244.1.2')
    }
    await ipam.release(request('a').key)
    expect(ipam.quarantined()).toEqual([])
    expect(readdirSync(join(dir, 'quarantine'))).toEqual([])
    rmSync(dir, { recursive: true })
  }
  // afterEach removes it.
  await open()
})

test('host ports are in the record, which an agent that knows of none reads as well', async () => {
  let ipam = await open()
  const portMappings = [
    { hostPort: 80, containerPort: 8080, protocol: 'TCP', hostIP: '::1' },
    { hostPort: 53, containerPort: 53, protocol: 'UDP' },
  ] as const
  const allocation = await ipam.allocate({ ...request('a'), portMappings })
  ipam = await open()
  expect(ipam.list()).toEqual([allocation])
  const path = join(dir, 'allocations', formatRecordName(allocation))
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replace('"version":1', '"version":1,"laterMember":[1]'))
  expect((await open()).list()).toEqual([allocation])
})

test('a record that can be read again is taken back', async () => {
  let ipam = await open()
  const allocation = await ipam.allocate(request('a'))
  const name = formatRecordName(allocation)
  const text = readFileSync(join(dir, 'allocations', name), 'utf8')
  writeFileSync(join(dir, 'allocations', name), text.replace('"version":1', '"version":2'))
  await open()
  writeFileSync(join(dir, 'quarantine', name), text)
  ipam = await open()
  expect(ipam.list()).toEqual([allocation])
  expect(ipam.quarantined()).toEqual([])
})

test('a file that is no record is set aside with nothing guessed from it', async () => {
  await open()
  writeFileSync(join(dir, 'allocations', 'notes.txt'), 'hello')
  const ipam = await open()
  expect(ipam.quarantined()).toMatchObject([{ file: 'notes.txt', addresses: [] }])
})

test('of two records with one address the second is set aside', async () => {
  const ipam = await open()
  const one = await ipam.allocate(request('a'))
  const two = await ipam.allocate(request('b'))
  const forged = { ...two, addresses: one.addresses }
  const folder = join(dir, 'allocations')
  rmSync(join(folder, formatRecordName(two)))
  writeFileSync(join(folder, formatRecordName(forged)), JSON.stringify({ version: 1, ...forged }))
  const restarted = await open()
  expect(restarted.list()).toHaveLength(1)
  expect(restarted.quarantined()).toHaveLength(1)
})

test('what an interrupted write left is removed at start', async () => {
  const ipam = await open()
  const { addresses } = await ipam.allocate(request('a'))
  writeFileSync(join(dir, 'allocations', '.half.json.new'), '{"ver')
  await open()
  expect(recordNames()).toHaveLength(1)
  expect(addresses).toEqual(['10.244.1.2'])
})
