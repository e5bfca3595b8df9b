// What is left of Sinabro: on a node after uninstall, and on this machine after the lab.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { afterAll, expect, test } from 'vitest'
import { processesIn } from '../lab/cgroup.ts'
import { eventually, Lab, type LabNode, run, TREE } from '../lab/index.ts'
import { readNodeState } from '../lab/node-state.ts'
import { raise } from './stage.ts'

const NAME = 'leave-nothing'

afterAll(() => Lab.down(`test-${NAME}`))

/** Everything of the machine that a lab could leave behind, as it looks from outside. */
async function machineState() {
  const links = await run(['ip', '-json', 'link'])
  return {
    devices: (JSON.parse(links.stdout) as { ifname: string }[]).map(({ ifname }) => ifname),
    routes: (await run(['ip', 'route', 'show', 'table', 'all'])).stdout,
    mounts: readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .filter((line) => /sinabro-lab|nsfs|sinabro/.test(line)),
    namespaces: existsSync('/run/netns') ? readdirSync('/run/netns') : [],
    folders: [
      '/opt/cni',
      '/etc/cni',
      '/var/lib/sinabro',
      '/run/sinabro',
      '/sys/fs/bpf/sinabro',
    ].map((path) => `${path} ${existsSync(path)}`),
  }
}

interface BpfThing {
  readonly id: number
  readonly name?: string
}

/** Ids of our programs and maps that the given node has loaded, as bpftool sees them through its pins. */
async function pinnedIds(node: LabNode): Promise<number[]> {
  const { stdout } = await node.exec(['bpftool', '-json', 'map', 'show'])
  const pinned = (JSON.parse(stdout) as (BpfThing & { pinned?: string[] })[]).filter(
    ({ pinned: pins }) => (pins?.length ?? 0) > 0,
  )
  return pinned.map(({ id }) => id)
}

async function mapIds(): Promise<number[]> {
  const { stdout } = await run(['bpftool', '-json', 'map', 'show'])
  return (JSON.parse(stdout) as BpfThing[]).map(({ id }) => id)
}

test('sinabro uninstall takes away everything that Sinabro made on the node', async () => {
  const before = await machineState()
  const lab = await raise(NAME, { nodes: 1 })
  const node = lab.node(1)
  const bare = await devicesOf(node)
  const pod = await node.addPod('last')
  expect((await readNodeState(node.machine)).allocations).toHaveLength(1)
  await pod.remove()
  await node.agent.kill('SIGTERM')
  await node.exec([process.execPath, `${TREE}/agent/src/main.ts`, 'uninstall'])
  expect(await devicesOf(node)).toEqual(bare.filter((name) => !name.startsWith('sb')))
  const { stdout: routes } = await node.exec(['ip', 'route', 'show', 'table', 'all', 'proto', '91'])
  expect(routes).toBe('')
  const { stdout: left } = await node.exec([
    ...['find', '/etc/cni/net.d', '/opt/cni/bin', '/sys/fs/bpf', '/run/sinabro'],
    ...['-mindepth', '1', '-name', '*sinabro*', '-o', '-name', 'sb*'],
  ])
  expect(left).toBe('')
  await lab.down()
  expect(await machineState()).toEqual(before)
})

test('a lab taken down with agents and pods on it leaves no device, mount, map or process', async () => {
  const before = await machineState()
  const lab = await raise(NAME)
  await Promise.all(lab.nodes.map((node) => node.addPod('doomed')))
  const ids = (await Promise.all(lab.nodes.map(pinnedIds))).flat()
  expect(ids.length).toBeGreaterThan(0)
  const { cgroup } = lab.node(1).machine.state
  await lab.down()
  expect(processesIn(cgroup)).toEqual([])
  expect(existsSync(lab.places.dir)).toBe(false)
  expect(await machineState()).toEqual(before)
  // The kernel frees maps a moment after the last reference.
  await eventually('the maps to be freed', async () => {
    const alive = new Set(await mapIds())
    return !ids.some((id) => alive.has(id))
  })
})

async function devicesOf(node: LabNode): Promise<string[]> {
  const { stdout } = await node.exec(['ip', '-json', 'link'])
  return (JSON.parse(stdout) as { ifname: string }[]).map(({ ifname }) => ifname)
}
