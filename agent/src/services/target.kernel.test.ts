// The writer on real maps: what a change costs, what packets find between two writes, what a start finds after a kill, what is left when a map is full.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../runtime/clock.ts'
import { Health } from '../runtime/health.ts'
import { silentLog } from '../runtime/log.ts'
import { Reconciler } from '../state/reconcile.ts'
import { Table } from '../state/table.ts'
import type { Target } from '../state/target.ts'
import { computePorts } from './compute.ts'
import type { Backend, Frontend, ServiceRows } from './rows.ts'
import { type ActualService, ServiceTarget, type ServiceTargetDeps } from './target.ts'
import {
  backendAt,
  createMaps,
  readAll,
  type Said,
  serviceAt,
  type TestMaps,
} from './testing/world.ts'

const signal = new AbortController().signal
let maps: TestMaps
let others: TestMaps[]

beforeEach(() => {
  maps = createMaps()
  others = []
})

afterEach(() => {
  for (const one of [maps, ...others]) one.close()
})

const many = (count: number, from = 1): Backend[] =>
  Array.from({ length: count }, (_, i) => backendAt(from + i))
/** Of ports of one Service. */
const KEYS = [':/TCP/4', ':http/TCP/4', ':http/TCP/4/external', ':web/TCP/4']
const nodePort = (port: number): Frontend => ({ kind: 'NodePort', address: '0.0.0.0', port })

async function started(change: Partial<ServiceTargetDeps> = {}): Promise<ServiceTarget> {
  const target = new ServiceTarget({ maps, ...change })
  await target.list(signal)
  return target
}

/** What maps that nobody wrote before say of these. */
async function fresh(rows: readonly ServiceRows[]): Promise<Said> {
  const empty = createMaps()
  others.push(empty)
  const target = await started({ maps: empty })
  for (const row of rows) await target.update(row)
  return readAll(empty)
}

/** As the reconciler does at its first pass. */
async function settle(target: ServiceTarget, rows: readonly ServiceRows[]): Promise<void> {
  const actuals = await target.list(signal)
  for (const row of rows) await target.update(row)
  const wanted = new Set(rows.map(({ key }) => key))
  for (const actual of actuals) if (!wanted.has(actual.key)) await target.remove(actual)
}

async function writesOf(target: ServiceTarget, row: ServiceRows): Promise<number> {
  const before = target.writer.writes
  await target.update(row)
  return target.writer.writes - before
}

test('a Service is there as a packet looks for it: header, list, backends; other ports of its address are nobody’s', async () => {
  const target = await started()
  await target.update(serviceAt(1, many(3), {}, [nodePort(30_080)]))
  const backends = ['10.244.0.1 8080 6 0', '10.244.0.2 8080 6 0', '10.244.0.3 8080 6 0']
  const list = { internal: backends, external: backends }
  expect(readAll(maps)).toEqual({
    headers: {
      '0.0.0.0 30080 6': { flags: 0, affinitySec: 0, ...list, ranges: [] },
      '10.96.0.1 0 0': { flags: 32, affinitySec: 0, internal: [], external: [], ranges: [] },
      '10.96.0.1 80 6': { flags: 0, affinitySec: 0, ...list, ranges: [] },
    },
    rows: { headers: 3, slots: 4, backends: 3, ranges: 0 },
  })
})

test('one endpoint more, less or other costs a handful of calls, however many there are', async () => {
  const target = await started()
  await target.update(serviceAt(1, many(1000)))
  expect(await writesOf(target, serviceAt(1, many(1001)))).toBe(3)
  expect(await writesOf(target, serviceAt(1, many(1000, 2)))).toBe(4)
  expect(await writesOf(target, serviceAt(1, [...many(999, 3), backendAt(5000)]))).toBe(3)
  const terminating = backendAt(5000, { isTerminating: true })
  expect(await writesOf(target, serviceAt(1, [...many(999, 3), terminating]))).toBe(1)
  expect(await writesOf(target, serviceAt(1, [terminating, ...many(999, 3)]))).toBe(0)
  expect(readAll(maps)).toEqual(await fresh([serviceAt(1, [...many(999, 3), terminating])]))
})

test('a backend behind several Services is one row, and goes with the last of them', async () => {
  const target = await started()
  await target.update(serviceAt(1, many(2)))
  await target.update(serviceAt(2, many(2)))
  expect(readAll(maps).rows.backends).toBe(2)
  await target.remove({ key: 'shop/s1', row: undefined })
  expect(readAll(maps)).toEqual(await fresh([serviceAt(2, many(2))]))
  await target.remove({ key: 'shop/s2', row: undefined })
  expect(readAll(maps).rows).toEqual({ headers: 0, slots: 0, backends: 0, ranges: 0 })
})

test('affinity, source ranges and a policy of its own outside come and go with their rows', async () => {
  const target = await started()
  const plain = serviceAt(1, many(3), {}, [nodePort(30_080)])
  const balanced: Frontend = { kind: 'LoadBalancer', address: '198.51.100.7', port: 80 }
  const full = serviceAt(
    1,
    many(3),
    {
      ...{ affinitySec: 10_800, external: many(1), isExternalLocal: true },
      sourceRanges: ['192.0.2.0/24', '203.0.113.9/32'],
    },
    [nodePort(30_080), balanced],
  )
  for (const row of [plain, full, plain, full, serviceAt(1, [], { affinitySec: 1 }), plain]) {
    await target.update(row)
    expect(readAll(maps)).toEqual(await fresh([row]))
  }
  await target.update(full)
  expect(readAll(maps).headers).toMatchObject({
    '10.96.0.1 80 6': { flags: 1, external: { length: 3 } },
    '0.0.0.0 30080 6': { flags: 9, external: ['10.244.0.1 8080 6 0 member'] },
    '198.51.100.7 80 6': { flags: 11, ranges: ['192.0.2.0/24', '203.0.113.9/32'] },
  })
})

test('it says when datagrams have lost a backend or a header, and of nothing else', async () => {
  let told = 0
  const target = await started({ onUdpGone: () => void told++ })
  const udp = (backends: readonly Backend[], more: Frontend[] = []) =>
    serviceAt(1, backends, { protocol: 'UDP' }, more)
  const since = async (act: Promise<void>): Promise<number> => {
    const before = told
    await act
    return told - before
  }
  expect(await since(target.update(udp(many(2))))).toBe(0)
  expect(await since(target.update(serviceAt(2, many(2))))).toBe(0)
  expect(await since(target.update(udp(many(3), [nodePort(30_001)])))).toBe(0)
  expect(await since(target.update(serviceAt(2, many(1, 2))))).toBe(0)
  expect(await since(target.remove({ key: 'shop/s2', row: undefined }))).toBe(0)
  expect(await since(target.update(udp(many(2), [nodePort(30_001)])))).toBe(1)
  expect(await since(target.update(udp(many(2))))).toBe(1)
  expect(await since(target.update(udp(many(2, 7))))).toBe(1)
  expect(await since(target.update(udp(many(2, 7), [nodePort(30_002)])))).toBe(0)
  const local = { protocol: 'UDP', external: many(1, 7) } as const
  const split = serviceAt(1, many(2, 7), local, [nodePort(30_002)])
  expect(await since(target.update(split))).toBe(1)
  expect(await since(target.remove({ key: 'shop/s1', row: undefined }))).toBe(1)
})

test('the API server’s own Service keeps its last backends when none are left', async () => {
  const api = { ...serviceAt(1, many(2)), key: 'default/kubernetes' }
  const target = await started()
  await target.update(api)
  await target.update({ ...serviceAt(1, []), key: 'default/kubernetes' })
  expect(readAll(maps)).toEqual(await fresh([api]))
})

test('a start finds the rows of the one before and moves nothing; what nobody asks for goes', async () => {
  const rows = [1, 2, 3].map((n) =>
    serviceAt(n, many(4, n), { affinitySec: 60, external: many(1, n) }, [nodePort(30_000 + n)]),
  )
  await settle(await started(), [...rows, serviceAt(9, many(9, 50))])
  const ids = [...maps.services.entries()].filter(([{ addr }]) => !addr.endsWith('.9'))
  const next = new ServiceTarget({ maps })
  const actuals = await next.list(signal)
  for (const row of rows) expect(await writesOf(next, row)).toBe(0)
  for (const actual of actuals) await next.remove(actual)
  expect(new Map(maps.services.entries())).toEqual(new Map(ids))
  expect(readAll(maps)).toEqual(await fresh(rows))
  const highest = Math.max(...maps.backends.keys())
  await next.update(serviceAt(4, [backendAt(900)]))
  expect(Math.max(...maps.backends.keys())).toBeGreaterThan(highest + 1_000_000)
})

test('killed between any two writes: packets find no gap, and the next start mends what is left', async () => {
  const before = [
    serviceAt(1, many(5), { affinitySec: 9 }, [nodePort(30_001)]),
    serviceAt(2, many(3)),
  ]
  const after = [
    serviceAt(
      1,
      [backendAt(2), ...many(5, 20), backendAt(4)],
      { affinitySec: 9, external: many(2, 30), sourceRanges: ['192.0.2.0/24'] },
      [nodePort(30_002), { kind: 'LoadBalancer', address: '198.51.100.7', port: 80 }],
    ),
    serviceAt(3, many(3)),
  ]
  const wanted = await fresh(after)
  for (let at = 1; ; at++) {
    const kernel = createMaps()
    others.push(kernel)
    await settle(await started({ maps: kernel }), before)
    let left = at
    const crashPoint = (): void => {
      readAll(kernel)
      if (--left === 0) throw new Error('killed')
    }
    const killed = new ServiceTarget({ maps: kernel, crashPoint })
    const isKilled = await settle(killed, after).then(
      () => false,
      (error: Error) => error.message === 'killed',
    )
    const crashPointOfNext = (): void => void readAll(kernel)
    await settle(new ServiceTarget({ maps: kernel, crashPoint: crashPointOfNext }), after)
    expect(readAll(kernel), `killed at write ${at}`).toEqual(wanted)
    if (!isKilled) {
      expect(at).toBeGreaterThan(15)
      break
    }
  }
})

test.each([
  ['a port outside of its own goes', ['http', 'http/external'], ['http', 'http']],
  ['a port outside of its own comes', ['http', 'http'], ['http', 'http/external']],
  ['a port gets a name', ['', ''], ['http', 'http']],
  ['two ports change places', ['http', 'web'], ['web', 'http']],
])('headers stay while they go from port to port of one Service: %s', async (_, before, after) => {
  let look = (): void => undefined
  const target = await started({ crashPoint: () => look() })
  await target.update(split(before))
  const served = { '10.96.0.1 80 6': { internal: { length: 3 } } }
  const servedOutside = { '0.0.0.0 30080 6': { internal: { length: 3 }, external: { length: 2 } } }
  look = () => expect(readAll(maps).headers).toMatchObject({ ...served, ...servedOutside })
  await target.update(split(after))
  expect(readAll(maps)).toEqual(await fresh([split(after)]))
  await target.list(signal)
  expect(readAll(maps)).toEqual(await fresh([split(after)]))
})

/** A Service with a cluster address and a node port, each of the port with that key. */
function split([inside = '', outside = '']: readonly string[]): ServiceRows {
  const row = serviceAt(1, many(3), { external: many(2, 5) }, [nodePort(30_080)])
  const [whole] = row.ports
  if (whole === undefined) throw new Error('no port')
  const frontends = [...whole.frontends]
  const ports = [...new Set([inside, outside])].map((key) => ({
    ...{ ...whole, key, portName: key },
    frontends: frontends.filter((_, at) => [inside, outside][at] === key),
  }))
  return { ...row, ports }
}

test('a header that is in no map at all is written by a refresh', async () => {
  const target = await started()
  const row = serviceAt(1, many(1))
  await target.update(row)
  maps.services.delete({ addr: '10.96.0.1', port: 80, proto: 6 })
  expect(await target.list(signal)).toContainEqual({ key: row.key, row })
  expect(readAll(maps)).toEqual(await fresh([row]))
})

test('after a thousand random changes the maps are as if they were written afresh', async () => {
  const random = seeded(20_261_121)
  const pick = (below: number): number => Math.floor(random() * below)
  const rows = new Map<string, ServiceRows>()
  let lasting: string[] = []
  const crashPoint = (): void => {
    const { headers } = readAll(maps)
    const lost = lasting.filter((name) => headers[name] === undefined)
    if (lost.length > 0) throw new Error(`nobody serves ${lost} for a moment`)
  }
  const target = await started({ crashPoint })
  const namesOf = (key: string): string[] => {
    const found = rows.get(key)
    return found === undefined
      ? []
      : computePorts(found).flatMap(({ headers }) => headers.map(({ name }) => name))
  }
  for (let change = 0; change < 1000; change++) {
    const n = 1 + pick(6)
    if (pick(6) === 0) {
      rows.delete(`shop/s${n}`)
      lasting = []
      await target.remove({ key: `shop/s${n}`, row: undefined })
      continue
    }
    const some = (): Backend[] => many(40).filter(() => pick(8) === 0)
    const balanced: Frontend = { kind: 'LoadBalancer', address: `198.51.100.${n}`, port: 80 }
    const whole = serviceAt(
      ...([n, [], {}, [nodePort(30_000 + n), balanced].filter(() => pick(2) === 0)] as const),
    )
    // Who has which of them changes: ports are renamed, divided and put together again.
    const keys = whole.ports.flatMap(({ frontends }) =>
      frontends.map(() => KEYS[pick(KEYS.length)]),
    )
    const ports = whole.ports.flatMap((port) =>
      [...new Set(keys)].map((key = '') => ({
        ...{ ...port, key, internal: some(), external: some() },
        frontends: port.frontends.filter((_, at) => keys[at] === key),
        ...(pick(2) === 0 ? { affinitySec: 60 } : {}),
        ...(pick(3) === 0 ? { sourceRanges: [`192.0.${pick(3)}.0/24`] } : {}),
      })),
    )
    const before = namesOf(whole.key)
    rows.set(whole.key, { ...whole, ports })
    const after = new Set(namesOf(whole.key))
    lasting = before.filter((name) => after.has(name))
    await target.update({ ...whole, ports })
    if (change % 20 === 0) expect(readAll(maps)).toEqual(await fresh([...rows.values()]))
  }
  expect(readAll(maps)).toEqual(await fresh([...rows.values()]))
}, 60_000)

const ranges = (count: number) => Array.from({ length: count }, (_, at) => `192.0.${at}.0/24`)
test.each<[string, number, ServiceRows]>([
  ['sb_slots', 20, serviceAt(1, many(14), { sourceRanges: ranges(2) })],
  ['sb_backends', 16, serviceAt(1, many(14), { sourceRanges: ranges(2) })],
  ['sb_src_ranges', 3, serviceAt(1, many(10), { sourceRanges: ranges(3) })],
  [
    'sb_services',
    5,
    serviceAt(1, many(10), { sourceRanges: ranges(2) }, [nodePort(30_001), nodePort(30_002)]),
  ],
])(
  '%s is full: it is named, old rows live on, and once there is room the rest is written',
  async (map, size, more) => {
    const small = createMaps(4096, { [map]: size })
    others.push(small)
    const target = await started({ maps: small })
    await target.update(serviceAt(1, many(10), { sourceRanges: ranges(2) }))
    await target.update(serviceAt(2, many(5, 20), { sourceRanges: ranges(1) }))
    const before = readAll(small)
    await expect(target.update(more)).rejects.toMatchObject({ code: 'map-full', map })
    expect(readAll(small).headers).toMatchObject(before.headers)
    expect(target.writer.refusals).toEqual(new Map([[map, 1]]))
    await target.remove({ key: 'shop/s2', row: undefined })
    await target.update(more)
    expect(readAll(small)).toEqual(await fresh([more]))
  },
)

test('two Services that ask for one address: the first has it, the other is named and gets it when it is free', async () => {
  const target = await started()
  const first = serviceAt(1, many(1), {}, [nodePort(30_080)])
  const second = serviceAt(2, many(1, 2), {}, [nodePort(30_080)])
  await target.update(first)
  await expect(target.update(second)).rejects.toThrow('0.0.0.0 30080 6 is that of shop/s1')
  expect(readAll(maps)).toEqual(await fresh([first, serviceAt(2, many(1, 2))]))
  await target.update(serviceAt(1, many(1)))
  await target.update(second)
  expect(readAll(maps)).toEqual(await fresh([serviceAt(1, many(1)), second]))
})

test('a change is written in the midst of a refresh, and the refresh mends what comes after it', async () => {
  const rows = new Table<ServiceRows>('service rows', ({ key }) => key)
  for (let n = 1; n <= 200; n++) rows.upsert(serviceAt(n, many(5, 1 + n * 5), { affinitySec: 9 }))
  rows.markReady()
  const target = new ServiceTarget({ maps, partRows: 100 })
  let parts = 0
  let onPart = (): void => undefined
  const counting: Target<ServiceRows, ActualService> = {
    ...{ name: target.name, key: target.key, keyOf: target.keyOf, isEqual: target.isEqual },
    list: (signal) => target.list(signal),
    find: (key) => target.find(key),
    update: (row) => target.update(row),
    remove: (actual) => target.remove(actual),
    async *listInParts(signal) {
      for await (const part of target.listInParts(signal)) {
        parts++
        onPart()
        yield part
      }
    },
  }
  const reconciler = new Reconciler({
    ...{ target: counting, desired: rows, sources: [] },
    ...{ log: silentLog, clock: systemClock, health: new Health(systemClock) },
  })
  const stop = new AbortController()
  const running = reconciler.run(stop.signal)
  await reconciler.settled()
  const written = new Map<number, number>()
  const all = rows.values()
  const changed = serviceAt(7, [backendAt(9000)])
  onPart = () => {
    const header = readAll(maps).headers['10.96.0.7 80 6'] as { internal: unknown[] } | undefined
    written.set(parts, header?.internal.length ?? 0)
    if (parts === 3) rows.upsert(changed)
    if (parts === 4) maps.services.delete({ addr: '10.96.0.200', port: 80, proto: 6 })
  }
  reconciler.kick()
  await reconciler.settled()
  expect(parts).toBeGreaterThan(20)
  expect([written.get(3), written.get(4)]).toEqual([5, 1])
  expect(readAll(maps)).toEqual(await fresh(all.with(6, changed)))
  stop.abort()
  await running
}, 60_000)

test('what somebody else deletes or adds is put right by a refresh', async () => {
  const rows = new Table<ServiceRows>('service rows', ({ key }) => key)
  const all = [serviceAt(1, many(4), { affinitySec: 5 }), serviceAt(2, many(2, 9))]
  for (const row of all) rows.upsert(row)
  rows.markReady()
  const reconciler = new Reconciler({
    ...{ target: new ServiceTarget({ maps }), desired: rows, sources: [] },
    ...{ log: silentLog, clock: systemClock, health: new Health(systemClock) },
  })
  const stop = new AbortController()
  const running = reconciler.run(stop.signal)
  await reconciler.settled()
  const wanted = readAll(maps)
  const [backend] = maps.backends.keys()
  const [slot] = maps.slots.keys()
  const [header] = maps.services.keys()
  const damages = [
    () => maps.backends.delete(backend ?? 0),
    () => slot && maps.slots.delete(slot),
    () => header && maps.services.delete(header),
    () => maps.slots.set({ list: 77, slot: 1 }, { backend: 5, weight: 0 }),
    () => maps.backends.set(900_000, { addr: '10.0.0.1', port: 1, proto: 6, flags: 0 }),
  ]
  for (const damage of damages) {
    damage()
    reconciler.kick()
    await reconciler.settled()
    expect(readAll(maps), String(damage)).toEqual(wanted)
  }
  stop.abort()
  await running
})

/** mulberry32: the same numbers in every run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test('a Service takes what a host port has, whoever wrote first, and a host port nothing of a Service', async () => {
  const service = serviceAt(1, many(2), {}, [nodePort(30_080)])
  const [port] = service.ports
  if (port === undefined) throw new Error('a port was expected')
  const list = { internal: many(1, 9), external: many(1, 9) }
  const asked: Frontend[] = [{ kind: 'HostPort', address: '0.0.0.0', port: 30_080 }]
  const hostPort: ServiceRows = {
    key: 'hostport:shop/pod',
    addresses: [],
    ports: [{ ...port, ...list, key: 'hostport:shop/pod/30080/TCP', frontends: asked }],
  }
  const target = await started()
  await target.update(hostPort)
  await target.update(service)
  const { headers } = readAll(maps)
  expect(headers).toEqual((await fresh([service])).headers)
  // It is to be written again, which says whose it is and changes nothing.
  expect(await target.find(hostPort.key)).toMatchObject({ row: undefined })
  await expect(target.update(hostPort)).rejects.toThrow('0.0.0.0 30080 6 is that of shop/s1')
  expect(readAll(maps).headers).toEqual(headers)
  // An agent that starts anew and comes to the pod's row first.
  const next = await started()
  await next.update(hostPort)
  await next.update(service)
  expect(readAll(maps).headers).toEqual(headers)
  await next.remove({ key: '', row: undefined })
  await next.remove({ key: service.key, row: service })
  await next.update(hostPort)
  expect(readAll(maps)).toEqual(await fresh([hostPort]))
})
