// Ports of a node's address that pods and the node itself want at once: a pool of sixteen, listeners, collisions, a pool that is full, many short connections.
import type { PoolView } from '@sinabro/agent/api/views.ts'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Conversations } from '../lab/conversation.ts'
import type { Pod } from '../lab/index.ts'
import { type Place, ping } from '../lab/talk.ts'
import { type Seen, WHO_PORT } from '../lab/who.ts'
import { grown } from './hostile-frames.ts'
import {
  addPods,
  FAMILIES,
  type MasqueradeStage,
  nodePlace,
  raiseMasquerading,
} from './masquerade-stage.ts'
import { whatIsWrong } from './stage.ts'

const FIRST = 40_000
const LAST = 40_015
/** --reserved-ports. */
const RESERVED = 40_015
const POOL = LAST - FIRST
/** A port from which a pod's own connections never start. */
const OUTSIDE_POOL = 20_000

let stage: MasqueradeStage
let one: Pod
let two: Pod
const open: { readonly conversations: Conversations; readonly isNode: boolean }[] = []

beforeAll(async () => {
  const ports = ['--masquerade-ports', `${FIRST}-${LAST}`, '--reserved-ports', String(RESERVED)]
  stage = await raiseMasquerading('ports', 'ebpf', { args: ports })
  ;[one, two] = (await addPods(stage.lab, 'one', 'two')) as [Pod, Pod]
})

afterEach(async () => {
  for (const { conversations, isNode } of open.splice(0)) {
    // A pod's port is free again when both ends have closed; a node's own is not, for a minute.
    await (isNode ? conversations.reset() : conversations.close())
    conversations[Symbol.dispose]()
  }
  expect(await stage.leaks()).toBe(0)
})

afterAll(async () => {
  if (stage !== undefined) expect(await whatIsWrong(stage.lab.node(1))).toEqual([])
  await stage?.lab.down()
})

function talk(from: Place, protocol: 'tcp' | 'udp', address: string) {
  const conversations = new Conversations(from, protocol, address)
  open.push({ conversations, isNode: from.inside === undefined })
  return conversations
}

const portsOf = (seen: readonly (Seen | null)[]): number[] =>
  seen.flatMap((one) => (one === null ? [] : [one.port]))

describe.each(FAMILIES)('IPv%i', (family) => {
  const far = () => stage.far.address(family)
  const node = () => nodePlace(stage.lab)
  const own = () => stage.nodeAddress(family)

  test('a pod keeps its own port where it can', async () => {
    for (const protocol of ['tcp', 'udp'] as const) {
      expect(await talk(one, protocol, far()).open(1, FIRST + 3)).toEqual([
        { address: own(), port: FIRST + 3 },
      ])
    }
  })

  test('two pods with the same port get two', async () => {
    for (const protocol of ['tcp', 'udp'] as const) {
      const ports = [
        ...portsOf(await talk(one, protocol, far()).open(1, FIRST + 3)),
        ...portsOf(await talk(two, protocol, far()).open(1, FIRST + 3)),
      ]
      expect(new Set(ports).size).toBe(2)
      expect(Math.min(...ports)).toBeGreaterThanOrEqual(FIRST)
      expect(Math.max(...ports)).toBeLessThanOrEqual(LAST)
    }
  })

  test('ports of the node’s connections are the node’s', async () => {
    const [fromNode] = await talk(node(), 'tcp', far()).open(1, FIRST + 5)
    expect(fromNode).toEqual({ address: own(), port: FIRST + 5 })
    const [fromPod] = await talk(one, 'tcp', far()).open(1, FIRST + 5)
    expect(fromPod?.address).toBe(own())
    expect(fromPod?.port).not.toBe(FIRST + 5)
  })

  test('ports that the node listens at are the node’s', async () => {
    const listening = `require('net').createServer().listen(${FIRST + 6}, '::', () => console.log())`
    const udp = `require('dgram').createSocket('udp6').bind(${FIRST + 6}, '::')`
    const end = `process.stdin.on('end', process.exit).resume()`
    const argv = [process.execPath, '-e', [udp, listening, end].join(';')]
    const child = node().machine.spawn(argv, { stdio: ['pipe', 'pipe', 'inherit'] })
    try {
      await new Promise((resolve) => child.stdout?.once('data', resolve))
      for (const protocol of ['tcp', 'udp'] as const) {
        const [seen] = await talk(one, protocol, far()).open(1, FIRST + 6)
        expect(seen?.address).toBe(own())
        expect(seen?.port).not.toBe(FIRST + 6)
      }
    } finally {
      child.stdin?.end()
      await new Promise((resolve) => child.once('exit', resolve))
    }
  })

  test('a connection of the node that wants a pod’s port goes out by another, and both live', async () => {
    for (const protocol of ['tcp', 'udp'] as const) {
      const ofPod = talk(one, protocol, far())
      const [port = 0] = portsOf(await ofPod.open(1, FIRST + 7))
      const ofNode = talk(node(), protocol, far())
      const names = ['to_uplink/translated'] as const
      const counts = await grown(stage.lab.node(1), names, async () => {
        const [seen] = await ofNode.open(1, port)
        expect(seen?.address).toBe(own())
        expect(seen?.port).not.toBe(port)
      })
      expect(counts['to_uplink/translated']).toBeGreaterThan(0)
      expect(portsOf(await ofPod.ask())).toEqual([port])
      expect(portsOf(await ofNode.ask())).toHaveLength(1)
    }
  })

  test('echo requests of two pods and the node have ids of their own', async () => {
    const places = [one, two, node()]
    const same = ['-e', String(FIRST + 9)]
    const argv = ['ping', '-n', '-q', '-i', '0.2', '-c', '3', '-W', '3', ...same, far()]
    const all = await Promise.all(
      places.map(({ machine, inside }: Place) => machine.exec(argv, inside)),
    )
    for (const { stdout } of all) expect(stdout).toContain(' 0% packet loss')
  })

  test('a full pool: what is new fails and is counted, what is old lives, others are not hurt', async () => {
    const old = talk(one, 'tcp', far())
    const held = portsOf(await old.open(10, OUTSIDE_POOL))
    const rest = talk(two, 'tcp', far())
    const names = ['from_pod/no_port'] as const
    const counts = await grown(stage.lab.node(1), names, async () => {
      held.push(...portsOf(await rest.open(POOL, OUTSIDE_POOL)))
    })
    expect(counts['from_pod/no_port']).toBeGreaterThan(0)
    // Each port once, none that is reserved, and none left over.
    const all = Array.from({ length: POOL }, (_, i) => FIRST + i)
    expect(held.toSorted((a, b) => a - b)).toEqual(all)
    expect(portsOf(await old.ask())).toHaveLength(10)
    expect(portsOf(await talk(two, 'udp', far()).open())).toHaveLength(1)
    expect(portsOf(await talk(two, 'tcp', stage.far.narrowAddress(family)).open())).toHaveLength(1)
    expect(await ping(two, far())).toBe(true)
    await old.close()
    expect(portsOf(await rest.open(10, OUTSIDE_POOL + POOL))).toHaveLength(10)
    const pool = (await pools()).find(
      ({ to, port, protocol }) => to === far() && port === WHO_PORT && protocol === 'tcp',
    )
    expect(pool).toMatchObject({ address: own(), capacity: POOL })
    expect(pool?.failed).toBeGreaterThan(0)
  })
})

async function pools(): Promise<readonly PoolView[]> {
  const { stdout } = await stage.lab.node(1).exec(['sinabro', 'masquerade', '-o', 'json'])
  return (JSON.parse(stdout) as { pools: PoolView[] }).pools
}
