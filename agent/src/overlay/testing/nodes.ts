// Two nodes for kernel tests: namespaces joined by one wire, each with its own maps and programs, pods and overlay of the agent in both.
import { join } from 'node:path'
import { mountBpffs } from '@sinabro/libbpf-ts/testing'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import type { NodeRow } from '../../cluster/rows.ts'
import { Datapath } from '../../datapath/datapath.ts'
import { probeFeatures } from '../../features/features.ts'
import { createPods, type Pods } from '../../pods/pods.ts'
import { systemClock } from '../../runtime/clock.ts'
import { Health } from '../../runtime/health.ts'
import { Jobs } from '../../runtime/jobs.ts'
import { silentLog } from '../../runtime/log.ts'
import { Table } from '../../state/table.ts'
import { createOverlay, type Overlay } from '../overlay.ts'
import type { TunnelMode } from '../rows.ts'
import { type Calls, counting } from './counting.ts'

const features = await probeFeatures()

export type Number = 1 | 2

export function nodeRow(n: number, change: Partial<NodeRow> = {}): NodeRow {
  return {
    name: `node${n}`,
    podCIDRs: [`10.244.${n}.0/24`, `fd00:10:244:${n}::/64`],
    internalIPs: [`172.31.0.${n}`, `fd31::${n}`],
    labels: {},
    annotations: {},
    ...change,
  }
}

export interface StartOptions {
  readonly tunnel?: TunnelMode
  readonly tunnelFamily?: 'auto' | 4 | 6
  readonly hasDsrDevice?: boolean
  readonly attach?: 'auto' | 'tcx' | 'clsact'
  readonly uplinks?: readonly string[]
  readonly isMasquerading?: boolean
  readonly servicesMax?: number | undefined
  readonly refreshMs?: number
  /** Counts what the overlay asks of the kernel. */
  readonly calls?: Calls
}

export interface Running {
  readonly datapath: Datapath
  readonly overlay: Overlay
  readonly pods: Pods
  readonly health: Health
  readonly nodes: Table<NodeRow>
  stop(): Promise<void>
}

/** One node: its namespace and bpf file system, which outlive the agents on it. */
export class TestNode {
  readonly number: Number
  readonly netns = NetworkNamespace.create()
  readonly netlink: RouteNetlink
  readonly #bpffs = mountBpffs()

  constructor(number: Number) {
    this.number = number
    this.netlink = RouteNetlink.open({ netns: this.netns })
  }

  async start(
    rows: readonly NodeRow[],
    {
      tunnel = 'bpf',
      tunnelFamily = 'auto',
      hasDsrDevice = false,
      attach = 'auto',
      uplinks = [],
      isMasquerading = false,
      servicesMax,
      refreshMs,
      calls,
    }: StartOptions = {},
  ): Promise<Running> {
    const log = silentLog
    const clock = systemClock
    const health = new Health(clock)
    const jobs = new Jobs({ log, health, clock })
    const netlink = RouteNetlink.open({ netns: this.netns })
    const datapath = await Datapath.open({
      bpfDir: join(this.#bpffs.path, 'sinabro'),
      attach,
      features,
      netlink,
      netns: this.netns,
      flowsMax: 1024,
      isMasquerading,
      servicesMax,
      clock,
      log,
    })
    const nodes = new Table<NodeRow>('nodes', ({ name }) => name)
    nodes.replaceAll(rows)
    nodes.markReady()
    const room = { netlink, hostNamespace: this.netns, datapath, clock, health, log }
    const counted =
      calls === undefined
        ? {}
        : {
            netlink: counting(netlink, calls, 'netlink'),
            datapath: counting(datapath, calls, 'datapath'),
          }
    const overlay = createOverlay({
      ...room,
      ...counted,
      nodes,
      nodeName: `node${this.number}`,
      tunnel,
      tunnelFamily,
      hasDsrDevice,
      tunnelPort: 8472,
      vni: 1,
      uplinks,
      ...(refreshMs === undefined ? {} : { refreshMs }),
    })
    const ipam = { list: () => [], release: async () => undefined, quarantined: () => [] }
    const pods = createPods({ podDevice: 'veth', ...room, ipam, podMtu: () => overlay.podMtu() })
    overlay.start(jobs)
    pods.start(jobs)
    return {
      datapath,
      overlay,
      pods,
      health,
      nodes,
      async stop() {
        await jobs.stop()
        datapath.close()
        netlink.close()
      },
    }
  }

  close(): void {
    this.netlink.close()
    this.netns.close()
    this.#bpffs.unmount()
  }
}

/** Joins both by a wire that has their InternalIPs at its ends. */
export async function join2(one: TestNode, two: TestNode): Promise<void> {
  await one.netlink.links.add({
    kind: 'veth',
    name: 'eth0',
    isUp: true,
    peer: { name: 'eth0', netns: two.netns, isUp: true },
  })
  for (const { netlink, number } of [one, two]) {
    const index = (await netlink.links.get({ name: 'eth0' }))?.index ?? 0
    await netlink.addresses.replace({ index, address: `172.31.0.${number}`, prefixLen: 24 })
    await netlink.addresses.replace({
      index,
      address: `fd31::${number}`,
      prefixLen: 64,
      flags: ['nodad'],
    })
  }
}
