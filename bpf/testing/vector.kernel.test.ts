// The vector runner itself: what it lets pass, and that it finds every kind of thing that is not as expected.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { array, struct, u8, u16, u32, u64 } from '../src/struct.ts'
import { ip4 } from './ip.ts'
import { type MapShapes, mapShape } from './map-state.ts'
import { eth, packet, payload } from './packet.ts'
import type { SkBuff } from './skb.ts'
import { testObject } from './test-object.ts'
import { udp } from './transport.ts'
import { runScenario, TestNode, type Vector } from './vector.ts'

const row = struct('basic_row', { packets: u64, mark: u32, port: u16, flags: array(u8, 2) })
const empty = { packets: 0n, mark: 0, port: 0, flags: [0, 0] }
const shapes = {
  basic_hash: mapShape({ key: u32, value: row }),
  basic_percpu: mapShape({
    key: u32,
    value: u32,
    combine: (values) => values.reduce((a, b) => a + b, 0),
  }),
} satisfies MapShapes

const frame = packet(
  eth({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' }),
  ip4({ src: '10.0.0.1', dst: '10.0.0.2' }),
  udp({ sport: 1, dport: 2 }),
  payload('hi'),
)

type Node = TestNode<typeof shapes, number>
let node: Node
beforeAll(async () => {
  node = await TestNode.load({
    objects: [testObject('binding_basic')],
    maps: shapes,
    rodata: { basic_verdict: u32.encode(2) },
    maxEntries: (map) => (map === 'basic_hash' ? 16 : undefined),
    base: { basic_hash: [[9, { ...empty, port: 9 }]] },
    watch: ['basic_hash'],
    readRedirect: (ctx: SkBuff) => ctx.cb[4] || undefined,
  })
})
afterAll(() => node.close())

const counts: Vector<typeof shapes, number> = {
  what: 'a counted packet',
  program: 'basic_count',
  packet: frame,
  ctx: { mark: 7 },
  expect: {
    verdict: 'shot',
    ctx: { mark: 0x5b, cb: [1, 0, 0, 0, 0] },
    maps: {
      basic_hash: { added: [[0, { packets: 1n, mark: (mark: number) => mark === 7 }]] },
      basic_percpu: { changed: [[0, 1]] },
    },
  },
}

test('check() passes a vector that is right, twice, from the same rows', () => {
  node.check(counts)
  const { verdict, packet: out } = node.check(counts)
  expect(verdict).toBe(2)
  expect(out).toEqual(frame)
})

const wrong: readonly [string, Partial<Vector<typeof shapes, number>>, string][] = [
  ['verdict', { expect: { ...counts.expect, verdict: 'ok' } }, 'verdict: shot, expected ok'],
  [
    'missing redirect',
    { expect: { ...counts.expect, redirect: 4 } },
    'redirect: undefined, expected 4',
  ],
  [
    'redirect nobody asked for',
    { ctx: { cb: [0, 0, 0, 0, 4] }, expect: { verdict: 'shot' } },
    'redirect: 4, expected undefined',
  ],
  ['context', { expect: { ...counts.expect, ctx: { mark: 1 } } }, 'ctx.mark: 91, expected 1'],
  ['packet', { expect: { ...counts.expect, packetOut: frame.slice(1) } }, 'packets differ'],
  [
    'row that stays as it was',
    {
      expect: {
        ...counts.expect,
        maps: { ...counts.expect.maps, basic_hash: { changed: [[9, {}]] } },
      },
    },
    'basic_hash[9] to be changed: it is as before',
  ],
  [
    'row that is not removed',
    { expect: { ...counts.expect, maps: { basic_hash: { removed: [9] } } } },
    'basic_hash[9] to be removed: it is still there',
  ],
  [
    'row that is not added',
    { expect: { ...counts.expect, maps: { basic_hash: { added: [[5, {}]] } } } },
    'basic_hash[5] to be added: it is not there',
  ],
  [
    'content of a row',
    { expect: { ...counts.expect, maps: { basic_hash: { added: [[0, { mark: 8 }]] } } } },
    'basic_hash[0] to be added.mark: 7, expected 8',
  ],
  [
    'condition on a row',
    {
      expect: {
        ...counts.expect,
        maps: { basic_hash: { added: [[0, { packets: (n) => n > 1n }]] } },
      },
    },
    'basic_hash[0] to be added.packets: 1n does not meet the condition',
  ],
  [
    'change of a watched map that is not named',
    { expect: { verdict: 'shot' } },
    'basic_hash[0] was to stay as it was: absent\n    but is: { packets: 1n, mark: 7',
  ],
  [
    'value of a per-CPU map',
    {
      expect: {
        ...counts.expect,
        maps: { ...counts.expect.maps, basic_percpu: { changed: [[0, 2]] } },
      },
    },
    'basic_percpu[0] to be changed: 1, expected 2',
  ],
]

test.each(wrong)('check() finds the wrong %s', (_, change, problem) => {
  expect(() => node.check({ ...counts, ...change })).toThrow(problem)
})

test('check() shows vector and packet in what it throws', () => {
  const attempt = () => node.check({ ...counts, expect: { ...counts.expect, verdict: 'ok' } })
  expect(attempt).toThrow(/^a counted packet\n {2}packet in, to basic_count:\n {4}eth 02:00:00:/)
})

test('check() starts from the base rows, step() from what is there', () => {
  node.check({
    ...counts,
    maps: { basic_hash: [[3, empty]], basic_percpu: [[0, 40]] },
    expect: {
      ...counts.expect,
      maps: { ...counts.expect.maps, basic_percpu: { changed: [[0, 41]] } },
    },
  })
  node.step({
    ...counts,
    expect: { verdict: 'shot', maps: { basic_percpu: { changed: [[0, 42]] } } },
  })
  node.reset()
  expect([...node.map('basic_hash').keys()].map((key) => u32.decode(key))).toEqual([9])
})

test('runScenario() hands the packet on and keeps the rows', () => {
  const added = { basic_hash: { added: [[0, {}]] } } as const
  const out = runScenario('two hops', [
    {
      at: node,
      what: 'in',
      program: 'basic_count',
      packet: frame,
      expect: { verdict: 'shot', maps: added },
    },
    {
      at: node,
      what: 'again',
      program: 'basic_count',
      packet: (before) => before.slice(0, 40),
      expect: { verdict: 'shot' },
    },
    { at: node, what: 'as it is', program: 'basic_count', expect: { verdict: 'shot' } },
  ])
  expect(out).toEqual(frame.slice(0, 40))
  const second = () =>
    runScenario('two hops', [
      {
        at: node,
        what: 'in',
        program: 'basic_count',
        packet: frame,
        expect: { verdict: 'shot', maps: added },
      },
      { at: node, what: 'again', program: 'basic_count', expect: { verdict: 'shot', maps: added } },
    ])
  expect(second).toThrow('two hops, 2: again')
})

test('programs and maps that no object has are refused by name', () => {
  expect(() => node.program('basic_typo')).toThrow('none of the objects has a program basic_typo')
  expect(() => node.map('basic_typo')).toThrow('none of the objects has a map basic_typo')
})
