// Connections out of rows: each pair once, in the right direction, in its state, with names, filtered.
import {
  encodeWay,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_OPENER,
  FLOW_RST,
  FLOW_SEEN,
  FLOW_SERVICE,
  FLOW_TRANSLATED,
  type Flow,
  type FlowKey,
  NOT_TRANSLATED,
  type WayKind,
} from '@sinabro/libbpf-ts/layouts'
import { expect, test } from 'vitest'
import { showFlows } from '../api/show-rooms.ts'
import { describeFlows, type FlowFilter, stateOf } from './flows.ts'
import { decodeFlowFilter } from './routes.ts'

const HZ = 256 // one tick of a row is then a second
const never = new AbortController().signal

function key(from: string, to: string, proto = 6): FlowKey {
  const [saddr = '', sport = '0'] = from.split(' ')
  const [daddr = '', dport = '0'] = to.split(' ')
  return { saddr, daddr, sport: Number(sport), dport: Number(dport), proto, icmpClass: 0 }
}

function flow(kind: WayKind, change: Partial<Flow> & { node?: number } = {}): Flow {
  const { node = 0, ...members } = change
  return {
    way: encodeWay({ kind, node, generation: 1 }),
    sourceIncarnation: 0,
    targetIncarnation: 0,
    sourceNode: 0,
    flags: FLOW_SEEN,
    seen: 990,
    created: 900,
    to: NOT_TRANSLATED,
    mtu: 0,
    ...members,
  }
}

function tableOf(...rows: [FlowKey, Flow][]) {
  const text = (one: FlowKey) => JSON.stringify(Object.values({ ...key(' ', ' '), ...one }))
  const byKey = new Map(rows.map(([one, row]) => [text(one), row]))
  return {
    async *chunks() {
      for (let at = 0; at < rows.length; at += 2) yield rows.slice(at, at + 2)
    },
    get: (one: FlowKey) => byKey.get(text(one)),
  }
}

const names = {
  pod: (address: string, incarnation: number) =>
    address === '10.1.0.2' && incarnation === 5 ? { namespace: 'default', name: 'web' } : undefined,
  node: (id: number) => (id === 7 ? 'node-2' : undefined),
}

const table = tableOf(
  [key('10.1.0.2 4000', '10.2.0.9 80'), flow('node', { node: 7, sourceIncarnation: 5 })],
  [key('10.2.0.9 80', '10.1.0.2 4000'), flow('local', { targetIncarnation: 5, seen: 998 })],
  [key('fd00::3 53', 'fd00::2 5000', 17), flow('local')],
  [key('fd00::2 5000', 'fd00::3 53', 17), flow('local', { flags: 0, seen: 900 })],
  [key('10.1.0.2 7', '192.0.2.1 7', 1), flow('stack', { sourceIncarnation: 4 })],
)

const list = (filter: Partial<FlowFilter> = {}) =>
  describeFlows(table, names, { nowTicks: 1000, hz: HZ }, { limit: 100, ...filter }, never)

test('describeFlows() shows each pair once, as it began, with pods and nodes by name', async () => {
  expect(await list()).toEqual({
    matched: 3,
    rows: 5,
    flows: [
      {
        protocol: 'tcp',
        source: { address: '10.1.0.2', port: 4000, pod: { namespace: 'default', name: 'web' } },
        destination: { address: '10.2.0.9', port: 80 },
        state: 'established',
        way: 'node-2',
        ageSec: 100,
        idleSec: 2,
      },
      {
        protocol: 'udp',
        source: { address: 'fd00::3', port: 53 },
        destination: { address: 'fd00::2', port: 5000 },
        state: 'unreplied',
        way: 'local',
        ageSec: 100,
        idleSec: 10,
      },
      // Another pod had the address when the row was made.
      expect.objectContaining({ protocol: 'icmp', source: { address: '10.1.0.2', port: 7 } }),
    ],
  })
})

test.each<[Partial<FlowFilter>, number]>([
  [{ pod: 'web' }, 1],
  [{ pod: 'default/web' }, 1],
  [{ pod: 'kube-system/web' }, 0],
  [{ pod: 'fd00::2' }, 1],
  [{ to: '10.2.0.9' }, 1],
  [{ to: '10.2.0.0/16' }, 1],
  [{ to: '10.1.0.2' }, 0],
  [{ to: 'fd00::/64' }, 1],
  [{ state: 'established' }, 1],
  [{ state: 'opening' }, 0],
  [{ state: 'unreplied' }, 2],
  [{ state: 'closed' }, 0],
  [{ pod: 'web', state: 'opening' }, 0],
])('describeFlows() with %j finds %i', async (filter, matched) => {
  expect((await list(filter)).matched).toBe(matched)
})

test('describeFlows() shows the service that was asked and the backend that answers', async () => {
  const to = { saddr: '10.1.0.3', daddr: '10.1.0.2', sport: 4000, dport: 8080 }
  const back = { saddr: '10.96.0.5', daddr: '10.1.0.3', sport: 80, dport: 4000 }
  const flags = FLOW_SEEN | FLOW_TRANSLATED | FLOW_SERVICE
  const rows = tableOf(
    [
      key('10.1.0.3 4000', '10.96.0.5 80'),
      flow('local', { flags: flags | FLOW_OPENER, to, targetIncarnation: 5 }),
    ],
    [key('10.1.0.2 8080', '10.1.0.3 4000'), flow('local', { flags, to: back })],
  )
  const time = { nowTicks: 1000, hz: HZ }
  const find = (filter: Partial<FlowFilter>) =>
    describeFlows(rows, names, time, { limit: 9, ...filter }, never)
  const [one] = (await find({ to: '10.96.0.0/16' })).flows
  expect(one).toMatchObject({
    destination: { address: '10.96.0.5', port: 80 },
    backend: { address: '10.1.0.2', port: 8080, pod: { namespace: 'default', name: 'web' } },
  })
  expect(one).not.toHaveProperty('as')
  for (const filter of [{ to: '10.1.0.2' }, { pod: 'web' }, { pod: '10.1.0.3' }]) {
    expect((await find(filter)).matched).toBe(1)
  }
  expect(showFlows(await find({})).split('\n')[0]).toMatch(/FROM +TO +BACKEND +STATE/)
})

test('describeFlows() shows no backend of an echo that leaves with another identifier', async () => {
  const to = { saddr: '192.0.2.1', daddr: '198.51.100.7', sport: 9, dport: 9 }
  const flags = FLOW_SEEN | FLOW_TRANSLATED | FLOW_OPENER
  const rows = tableOf([key('10.1.0.2 7', '198.51.100.7 7', 1), flow('out', { flags, to })])
  const { flows } = await describeFlows(
    rows,
    names,
    { nowTicks: 1000, hz: HZ },
    { limit: 9 },
    never,
  )
  expect(flows[0]).toMatchObject({ as: { address: '192.0.2.1', port: 9 } })
  expect(flows[0]).not.toHaveProperty('backend')
})

test('describeFlows() puts the rows of a translated flow together, and says under which address it leaves', async () => {
  const to = { saddr: '192.0.2.1', daddr: '198.51.100.7', sport: 50000, dport: 443 }
  const back = { saddr: '198.51.100.7', daddr: '10.1.0.2', sport: 443, dport: 4000 }
  const flags = FLOW_SEEN | FLOW_TRANSLATED
  const rows = tableOf(
    [key('198.51.100.7 443', '192.0.2.1 50000'), flow('local', { flags, to: back })],
    [key('10.1.0.2 4000', '198.51.100.7 443'), flow('out', { flags: flags | FLOW_OPENER, to })],
  )
  const time = { nowTicks: 1000, hz: HZ }
  const view = await describeFlows(rows, names, time, { limit: 9 }, never)
  expect(view.flows).toMatchObject([
    {
      source: { address: '10.1.0.2', port: 4000 },
      as: { address: '192.0.2.1', port: 50000 },
      destination: { address: '198.51.100.7', port: 443 },
      state: 'established',
      way: 'out',
    },
  ])
})

test('describeFlows() lists up to the limit and counts all', async () => {
  const { flows, matched } = await list({ limit: 1 })
  expect([flows.length, matched]).toEqual([1, 3])
})

test('describeFlows() ends when nobody waits for it any more', async () => {
  const filter = { limit: 1 }
  const time = { nowTicks: 1000, hz: HZ }
  const gone = AbortSignal.abort(new Error('gone'))
  await expect(describeFlows(table, names, time, filter, gone)).rejects.toThrow('gone')
})

test.each([
  [FLOW_SEEN, 'replied'],
  [0, 'unreplied'],
] as const)('stateOf() of UDP whose other row has flags %i is %s', (flags, state) => {
  expect(stateOf({ proto: 17 }, flow('local'), flow('local', { flags }))).toBe(state)
})

const SEEN = FLOW_SEEN
test.each([
  [SEEN, SEEN, 'established'],
  [SEEN, 0, 'opening'],
  [SEEN, undefined, 'opening'],
  [SEEN | FLOW_FIN, SEEN | FLOW_FIN_REPLY, 'closing'],
  [SEEN, SEEN | FLOW_FIN, 'closing'],
  [SEEN | FLOW_FIN | FLOW_FIN_REPLY, SEEN, 'closed'],
  [SEEN | FLOW_FIN, SEEN | FLOW_FIN, 'closed'],
  [SEEN, SEEN | FLOW_RST, 'closed'],
  [SEEN | FLOW_RST, undefined, 'closed'],
] as const)('stateOf() of flags %i and %s is %s', (flags, back, state) => {
  const other = back === undefined ? undefined : flow('local', { flags: back })
  expect(stateOf({ proto: 6 }, flow('local', { flags }), other)).toBe(state)
})

test('decodeFlowFilter() takes what the command sends', () => {
  const query = new URLSearchParams({ pod: 'FD00::0:2', to: '10.0.0.0/8', state: 'established' })
  expect(decodeFlowFilter(query)).toEqual({
    pod: 'fd00::2',
    to: '10.0.0.0/8',
    state: 'established',
    limit: 1000,
  })
})

test.each([
  { to: 'web' },
  { to: '10.0.0.1/8' },
  { to: '' },
  { state: 'shut' },
  { limit: '0' },
  { limit: '1e9' },
  { limit: '-1' },
])('decodeFlowFilter() refuses %j', (query) => {
  expect(() => decodeFlowFilter(new URLSearchParams(query as Record<string, string>))).toThrow(
    expect.objectContaining({ code: 'bad-request', status: 400 }),
  )
})
