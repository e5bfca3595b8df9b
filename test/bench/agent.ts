// What the shipped agent costs a node: memory with few and with many nodes in the cluster, and the time until it is ready.
import { readFileSync } from 'node:fs'
import { run } from '../lab/command.ts'
import { eventually, Lab, LabError, type LabNode } from '../lab/index.ts'
import { nodeObject } from '../lab/manifests.ts'
import { type Bench, LAB_NAME } from './bench.ts'
import { compare, type Side } from './row.ts'

const MANY_NODES = 1000
/** Long enough for the start's garbage to be collected and handed back. */
const SETTLE_MS = 5_000
const ROUTE_PROTOCOL = '91'

export const agentMemory: Bench = {
  name: 'agent-memory',
  async run({ runs, say }) {
    const lab = await Lab.up({ name: `${LAB_NAME}-memory`, nodes: 2, canReplace: true })
    try {
      const few = await compare('agent-memory', metrics('2 nodes'), { ours: memory(lab, 2) }, runs)
      for (let i = lab.nodes.length; i < MANY_NODES; i++) lab.manifests.write(distantNode(i))
      say(`then with ${MANY_NODES} Node manifests; every sample is of an agent started anew`)
      const ours = memory(lab, MANY_NODES)
      return [...few, ...(await compare('agent-memory', metrics('1,000 nodes'), { ours }, runs))]
    } finally {
      await lab.down()
    }
  },
}

export const agentStart: Bench = {
  name: 'agent-start',
  async run({ runs }) {
    const lab = await Lab.up({ name: `${LAB_NAME}-start`, nodes: 1, canReplace: true })
    try {
      const node = lab.node(1)
      const ours: Side = {
        name: 'sinabro',
        async measure() {
          const spawnedAt = Date.now()
          node.agent.start({ from: 'bundle' })
          await node.agent.waitReady()
          const readyAt = lastLogTime(node, 'ready')
          await node.agent.kill('SIGTERM')
          return { 'start to ready': readyAt - spawnedAt }
        },
      }
      const bare: Side = {
        name: 'Node, an empty program',
        async measure() {
          const start = performance.now()
          await run(node.machine.enter([process.execPath, '-e', '0']))
          return { 'start to ready': performance.now() - start }
        },
      }
      const metrics = { 'start to ready': { unit: 'ms', better: 'lower' as const } }
      return await compare('agent-start', metrics, { ours, peer: bare }, runs)
    } finally {
      await lab.down()
    }
  },
}

function metrics(what: string) {
  const info = { unit: 'MiB', better: 'lower' as const }
  return { [`${what}, anonymous`]: info, [`${what}, RSS`]: info }
}

/** The first node's agent, started for each sample; the second node stays as it is. */
function memory(lab: Lab, nodes: number): Side {
  const what = nodes === MANY_NODES ? '1,000 nodes' : `${nodes} nodes`
  const node = lab.node(1)
  return {
    name: 'sinabro',
    async measure() {
      node.agent.start({ from: 'bundle' })
      try {
        await node.agent.waitReady(60_000)
        await eventually('routes to every node', () => hasRoutes(node, nodes - 1), 60_000)
        await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
        const [pid] = node.agent.pids()
        if (pid === undefined) throw new LabError('absent', 'the agent ended')
        const { anonymous, rss } = memoryOf(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))
        return { [`${what}, anonymous`]: anonymous, [`${what}, RSS`]: rss }
      } finally {
        await node.agent.kill('SIGTERM')
      }
    },
  }
}

async function hasRoutes(node: LabNode, atLeast: number): Promise<boolean> {
  const { stdout } = await node.exec(['ip', '-4', 'route', 'show', 'proto', ROUTE_PROTOCOL])
  return stdout.trimEnd().split('\n').length >= atLeast
}

/** MiB, of the text of /proc/PID/smaps_rollup. */
export function memoryOf(rollup: string): { readonly anonymous: number; readonly rss: number } {
  const kib = (name: string) => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(rollup)?.[1]
    if (found === undefined) throw new LabError('absent', `smaps_rollup has no ${name}`)
    return Number(found) / 1024
  }
  return { anonymous: kib('Anonymous'), rss: kib('Rss') }
}

/** A node that is only written down: nobody is at its address. */
function distantNode(number: number) {
  const [high, low] = [number >> 8, number & 0xff]
  const hex = number.toString(16)
  const addresses = [
    { address: `172.18.${100 + high}.${low}`, prefixLen: 24 },
    { address: `fd18::1:${hex}`, prefixLen: 64 },
  ]
  const plan = {
    name: `distant${number}`,
    addresses,
    internalIps: addresses.map(({ address }) => address),
    podCidrs: [`10.${64 + high}.${low}.0/24`, `fd00:10:64:${hex}::/64`],
  }
  return nodeObject(plan, `00000000-0000-4000-8000-${hex.padStart(12, '0')}`)
}

function lastLogTime(node: LabNode, message: string): number {
  const line = node.agent
    .logTail(1000)
    .split('\n')
    .findLast((text) => text.includes(`"msg":"${message}"`))
  const time = line === undefined ? undefined : /"time":"([^"]+)"/.exec(line)?.[1]
  if (time === undefined) throw new LabError('absent', `the agent never said ${message}`)
  return Date.parse(time)
}
