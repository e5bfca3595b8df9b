// Source ranges that have no room: who may not ask is refused all the same, and the Service's other ports are written.
import { SERVICE_SOURCE_RANGES } from '@sinabro/libbpf-ts/layouts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Backend, Frontend, ServicePort, ServiceRows } from './rows.ts'
import { ServiceTarget } from './target.ts'
import { backendAt, createMaps, readAll, serviceAt, type TestMaps } from './testing/world.ts'

/** Rows of each map. */
const ROOM = 24
const signal = new AbortController().signal
let maps: TestMaps
let target: ServiceTarget

beforeEach(async () => {
  maps = createMaps(ROOM)
  target = new ServiceTarget({ maps })
  await target.list(signal)
})
afterEach(() => maps.close())

const many = (count: number, from = 1): Backend[] =>
  Array.from({ length: count }, (_, i) => backendAt(from + i))
const ranges = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, i) => `192.0.2.${from + i}/32`)

/** Behind a load balancer, with a second port beside the first. */
function balanced(n: number, backends: readonly Backend[], sourceRanges?: string[]): ServiceRows {
  const frontend: Frontend = { kind: 'LoadBalancer', address: `198.51.100.${n}`, port: 80 }
  const change = sourceRanges === undefined ? {} : { sourceRanges }
  const row = serviceAt(n, backends, change, [frontend])
  const [first] = row.ports
  if (first === undefined) throw new Error('no port')
  const second: ServicePort = {
    ...{ ...first, key: `shop/s${n}:web/TCP/4`, portName: 'web' },
    frontends: [{ ...frontend, port: 81 }],
  }
  return { ...row, ports: [first, second] }
}

interface Header {
  readonly flags: number
  readonly ranges: readonly string[]
  readonly external: readonly string[]
}

const headersOf = (n: number) =>
  [80, 81].map((port) => readAll(maps).headers[`198.51.100.${n} ${port} 6`] as Header)
const areRestricted = (n: number) =>
  headersOf(n).map(({ flags }) => (flags & SERVICE_SOURCE_RANGES) !== 0)
const rangesOf = (n: number) => headersOf(n).map((header) => header.ranges)
const full = (map: string) => ({ code: 'map-full', map })

test('a Service that is open, or new, lets in nobody from ranges that have no room', async () => {
  await target.update(balanced(1, many(1), ranges(ROOM / 2)))
  await target.update(balanced(2, many(1, 20)))
  const asked = balanced(2, many(2, 20), ranges(1, 200))
  await expect(target.update(asked)).rejects.toMatchObject(full('sb_src_ranges'))
  await expect(target.update(asked)).rejects.toThrow(
    /clients in source ranges that did not fit are/,
  )
  expect([areRestricted(2), rangesOf(2)]).toEqual([
    [true, true],
    [[], []],
  ])
  expect(headersOf(2).map(({ external }) => external.length)).toEqual([2, 2])
  await expect(target.update(balanced(3, many(1, 40), ranges(1)))).rejects.toMatchObject(
    full('sb_src_ranges'),
  )
  expect([areRestricted(3), rangesOf(3)]).toEqual([
    [true, true],
    [[], []],
  ])
  await target.remove({ key: 'shop/s1', row: undefined })
  await target.update(asked)
  expect(rangesOf(2)).toEqual([ranges(1, 200), ranges(1, 200)])
})

test('what has room counts, and a range that is given up goes first', async () => {
  await target.update(balanced(1, many(1), ranges(ROOM / 2 - 1)))
  await target.update(balanced(2, many(1, 20), ranges(1, 200)))
  const asked = balanced(2, many(1, 20), ranges(2, 210))
  await expect(target.update(asked)).rejects.toMatchObject(full('sb_src_ranges'))
  // What the first port has given up was room for the second.
  expect(rangesOf(2)).toEqual([[], ranges(1, 210)])
  await expect(target.update(asked)).rejects.toMatchObject(full('sb_src_ranges'))
  expect(rangesOf(2)).toEqual([ranges(1, 210), ranges(1, 210)])
  expect(areRestricted(2)).toEqual([true, true])
})

test('a list that has no room keeps neither ranges nor later ports from being written', async () => {
  const open = balanced(1, many(2))
  await target.update(open)
  const asked = balanced(1, many(2), ranges(1))
  const [first, second] = asked.ports
  if (first === undefined || second === undefined) throw new Error('no port')
  const grown = { ...first, internal: many(ROOM), external: many(ROOM) }
  const shrunk = { ...second, internal: many(1), external: many(1) }
  await expect(target.update({ ...asked, ports: [grown, shrunk] })).rejects.toMatchObject({
    code: 'map-full',
  })
  expect([areRestricted(1), rangesOf(1)]).toEqual([
    [true, true],
    [ranges(1), ranges(1)],
  ])
  expect(headersOf(1).map(({ external }) => external.length)).toEqual([2, 1])
})
