// What one sender may have of the flow table: as much as is free; counted when a flow opens, recounted by each walk.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  DEFAULT_TIMEOUTS,
  FLOW_OPENER,
  FLOW_SEEN,
  flow,
  flowKey,
  NODE_ADDR_NODE_PORTS,
  OPENER_CLIENT,
  OPENER_OUTSIDE,
  OPENER_POD,
  OPENER_REMOTE,
  type Opener,
  opened,
  opener,
  openerFlows,
} from '../src/layouts.ts'
import { u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { type Clock, clockOf, sweepOf } from './clock.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { SERVICES, serving } from './service-rows.ts'
import {
  flowRow,
  INCARNATION_A,
  INCARNATION_B,
  ipv4,
  ipv6,
  keyOf,
  loadWorld,
  NODE_2,
  type RowSpec,
  readyConfig,
  reverse,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17
const MAX_FLOWS = 64
const PAIRS = MAX_FLOWS / 2
const SHOT = 2

let world: World
let clock: Clock
beforeAll(async () => {
  world = await loadWorld({ maxFlows: MAX_FLOWS })
})
afterAll(() => world?.close())
beforeEach(async () => {
  world.reset()
  clock = await clockOf(world)
})

const flows = () => new TypedMap(world.map('sb_flows'), flowKey, flow)
const openers = () => new TypedMap(world.map('sb_openers'), opener, openerFlows)
const total = () => new TypedMap(world.map('sb_opened'), u32, opened).get(0)?.flows
const who = (spec: Partial<Opener>): Opener => ({ kind: 0, incarnation: 0, addr: '::', ...spec })
const podA = who({ kind: OPENER_POD, incarnation: INCARNATION_A })
const podB = who({ kind: OPENER_POD, incarnation: INCARNATION_B })
const outside = who({ kind: OPENER_OUTSIDE })
const clients = who({ kind: OPENER_CLIENT })

function isDropped(program: string, data: Uint8Array): boolean {
  return world.program(program).testRun({ data }).retval === SHOT
}

/** How many of these flows pod a, or who comes to it by the stack, may open. */
function open(program: 'sb_from_pod' | 'sb_to_pod', src: string, dst: string, count: number) {
  let done = 0
  for (let i = 0; i < count; i++) {
    const link = program === 'sb_from_pod' ? links.fromA : links.toA
    if (!isDropped(program, udpPacket(link, { src, dst }, { sport: 1000 + i, dport: 9 }))) done++
  }
  return done
}

/** Both rows of a flow, the first of which is its opener's. */
function put(source: string, target: string, port: number, row: Partial<RowSpec>, idleSec = 0) {
  const spec = { source, target, proto: UDP, sport: port, dport: 1 }
  const seen = clock.secondsAgo(idleSec)
  const flags = FLOW_SEEN | FLOW_OPENER
  flows().set(keyOf(spec), { ...flowRow({ kind: 'stack', ...row, flags }), seen })
  flows().set(keyOf(reverse(spec)), { ...flowRow({ kind: 'stack' }), seen })
}

test('one pod has half of the table at most, and others what is left', () => {
  expect(open('sb_from_pod', ipv4.a, ipv4.stranger, MAX_FLOWS)).toBe(PAIRS / 2)
  expect(openers().get(podA)?.flows).toBe(PAIRS / 2)
  expect(total()).toBe(PAIRS / 2)
  expect(open('sb_to_pod', ipv4.b, ipv4.a, MAX_FLOWS)).toBe(PAIRS / 4)
  expect(open('sb_to_pod', ipv4.stranger, ipv4.a, MAX_FLOWS)).toBe(PAIRS / 8)
})

test('both families of a pod are one sender', () => {
  expect(open('sb_from_pod', ipv4.a, ipv4.stranger, MAX_FLOWS)).toBe(PAIRS / 2)
  expect(open('sb_from_pod', ipv6.a, ipv6.stranger, 10)).toBe(0)
})

test('the node itself opens flows while there is any room', () => {
  open('sb_from_pod', ipv4.a, ipv4.stranger, MAX_FLOWS)
  expect(open('sb_to_pod', ipv4.own1, ipv4.a, MAX_FLOWS)).toBe(PAIRS / 2)
  expect(total()).toBe(PAIRS)
})

test('where it has services or not, by the address that others tunnel to, too', () => {
  world.put({ sb_config: [[0, { ...readyConfig, tunnelLocal4: ipv4.vacant }]] })
  open('sb_from_pod', ipv4.a, ipv4.stranger, MAX_FLOWS)
  expect(open('sb_to_pod', ipv4.vacant, ipv4.a, MAX_FLOWS)).toBe(PAIRS / 2)
})

test('a flow that lives, and one opened again by the same sender, is not one more', () => {
  expect(open('sb_from_pod', ipv4.a, ipv4.stranger, 3)).toBe(3)
  expect(open('sb_from_pod', ipv4.a, ipv4.stranger, 3)).toBe(3)
  expect(openers().get(podA)?.flows).toBe(3)
  expect(open('sb_from_pod', ipv4.a, ipv4.stranger, MAX_FLOWS)).toBe(PAIRS / 2)
})

test('answers count for who asked', () => {
  expect(open('sb_to_pod', ipv4.b, ipv4.a, 1)).toBe(1)
  const answer = udpPacket(links.fromA, { src: ipv4.a, dst: ipv4.b }, { sport: 9, dport: 1000 })
  expect(isDropped('sb_from_pod', answer)).toBe(false)
  expect(openers().get(podA)).toBeUndefined()
  expect(openers().get(podB)?.flows).toBe(1)
})

test('the node itself is not limited either where its address is in no pod range', () => {
  world.put({ sb_node_addrs: [[ipv4.stranger, NODE_ADDR_NODE_PORTS]] })
  expect(open('sb_to_pod', ipv4.stranger, ipv4.a, MAX_FLOWS)).toBe(PAIRS)
})

test('who asks for services from outside has a share apart from who comes by the stack', async () => {
  const { a, node1: dst, stranger: src } = ipv4
  const backends = [{ address: a, port: 80 }]
  world.put({
    ...serving({ family: 4, proto: TCP, port: 30_080, backends }),
    sb_config: [[0, { ...readyConfig, flags: SERVICES }]],
  })
  let done = 0
  for (let i = 0; i < MAX_FLOWS; i++) {
    const syn = tcpPacket(links.wire, { src, dst }, { sport: 1000 + i, dport: 30_080 }, ['syn'])
    if (!isDropped('sb_from_uplink', syn)) done++
  }
  expect(done).toBe(PAIRS / 2)
  expect(open('sb_to_pod', src, a, MAX_FLOWS)).toBe(PAIRS / 4)
  const counts = () => [clients, outside].map((one) => openers().get(one)?.flows)
  expect(counts()).toEqual([PAIRS / 2, PAIRS / 4])
  await sweepOf(world)
  expect(counts()).toEqual([PAIRS / 2, PAIRS / 4])
})

test('the sweep counts anew, whatever the counts were', async () => {
  const { a, b, c, stranger, own1 } = ipv4
  put(a, stranger, 1, { sourceIncarnation: INCARNATION_A })
  put(ipv6.a, ipv6.stranger, 2, { sourceIncarnation: INCARNATION_A })
  put(c, a, 3, { sourceNode: NODE_2 })
  put(stranger, b, 4, {})
  put(own1, b, 5, {})
  put(b, a, 6, { sourceIncarnation: INCARNATION_B }, DEFAULT_TIMEOUTS.udpStream + 1)
  openers().set(podA, { flows: 1000, recount: 17 })
  openers().set(podB, { flows: 1, recount: 1 })
  expect(await sweepOf(world)).toMatchObject({ removed: 2 })
  expect(new Map([...openers().entries()].map(([k, v]) => [JSON.stringify(k), v.flows]))).toEqual(
    new Map([
      [JSON.stringify(podA), 2],
      [JSON.stringify(who({ kind: OPENER_REMOTE, addr: c })), 1],
      [JSON.stringify(outside), 1],
    ]),
  )
  expect(total()).toBe(5)
})

test('a pod at its limit whose flows have expired goes on without the agent', () => {
  for (let i = 0; i < PAIRS / 2; i++) {
    const idle = DEFAULT_TIMEOUTS.udpStream + 1
    put(ipv4.a, ipv4.stranger, i + 1, { sourceIncarnation: INCARNATION_A }, idle)
  }
  openers().set(podA, { flows: PAIRS / 2, recount: 0 })
  new TypedMap(world.map('sb_opened'), u32, opened).set(0, { flows: PAIRS / 2, recount: 0 })
  expect(open('sb_from_pod', ipv4.a, ipv4.b, 1)).toBe(1)
  expect(openers().get(podA)?.flows).toBe(1)
  expect(total()).toBe(1)
})
