// What is left of Sinabro: on a node after uninstall, and on this machine after the lab.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BpfMap } from '@sinabro/libbpf-ts'
import { LAYOUT_VERSION } from '@sinabro/libbpf-ts/layouts'
import { afterEach, expect, test } from 'vitest'
import { processesIn } from '../lab/cgroup.ts'
import { eventually, type Lab, type LabNode, run, TREE } from '../lab/index.ts'
import { readNodeState } from '../lab/node-state.ts'
import { raise } from './stage.ts'

const NAME = 'leave-nothing'

let lab: Lab | undefined

afterEach(() => lab?.down())

/** What a lab could leave on the machine itself; no more than that, because other tests run beside this one. */
async function machineState() {
  const links = JSON.parse((await run(['ip', '-json', 'link'])).stdout) as IpLink[]
  const folders = ['/opt/cni', '/etc/cni', '/var/lib/sinabro', '/run/sinabro']
  return {
    devices: links.filter(isOurs).map(({ ifname }) => ifname),
    routes: (await run(['ip', 'route', 'show', 'table', 'all', 'proto', '91'])).stdout,
    mounts: readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes('/run/sinabro-lab')),
    folders: folders.filter((path) => existsSync(path)),
  }
}

interface IpLink {
  readonly ifname: string
  readonly ifalias?: string
}

/** By alias, as every device of the agent has one, or by the name of a switch port or of the overlay. */
function isOurs({ ifname, ifalias }: IpLink): boolean {
  return ifalias?.startsWith('sinabro:') === true || /^(p-|sb-)/.test(ifname)
}

/** Ids of the maps that the node has pinned. As long as a program of ours is loaded somewhere it holds them. */
function pinnedMapIds(node: LabNode): number[] {
  const folder = node.machine.pathOnHost(`/sys/fs/bpf/sinabro/v${LAYOUT_VERSION}/maps`)
  return readdirSync(folder).map((name) => {
    const map = BpfMap.openPinned(join(folder, name))
    try {
      return map.info.id
    } finally {
      map.close()
    }
  })
}

/** Every map of this machine. */
async function mapIds(): Promise<number[]> {
  const { stdout } = await run(['bpftool', '-j', 'map', 'show'])
  return (JSON.parse(stdout) as { id: number }[]).map(({ id }) => id)
}

test('sinabro uninstall takes away everything that Sinabro made on the node', async () => {
  const before = await machineState()
  lab = await raise(NAME, { nodes: 1 })
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
    ...[
      'sh',
      '-c',
      'find "$@" -mindepth 1 -not -name "*.debug"; ls /run | grep -x sinabro; true',
      'sh',
    ],
    ...['/etc/cni/net.d', '/opt/cni/bin', '/sys/fs/bpf', '/var/lib/sinabro'],
  ])
  expect(left).toBe('')
  await lab.down()
  expect(await machineState()).toEqual(before)
})

test('a lab taken down with agents and pods on it leaves no device, mount, map or process', async () => {
  const before = await machineState()
  lab = await raise(NAME)
  await Promise.all(lab.nodes.map((node) => node.addPod('doomed')))
  const ids = lab.nodes.flatMap(pinnedMapIds)
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
