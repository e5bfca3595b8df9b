// A node for kernel tests: a namespace of its own, a bpf file system of its own, real maps and programs, real allocations on disk.
import { join } from 'node:path'
import { mountBpffs } from '@sinabro/libbpf-ts/testing'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { Datapath } from '../../datapath/datapath.ts'
import { choosePodDevice } from '../../features/choose.ts'
import { probeFeatures } from '../../features/features.ts'
import type { Allocation } from '../../ipam/allocation.ts'
import type { CrashPoint } from '../../ipam/crash-point.ts'
import { readEra } from '../../ipam/era.ts'
import { Ipam } from '../../ipam/ipam.ts'
import { systemClock } from '../../runtime/clock.ts'
import { Health } from '../../runtime/health.ts'
import { Jobs } from '../../runtime/jobs.ts'
import { silentLog } from '../../runtime/log.ts'
import type { PodDevice } from '../device.ts'
import { createPods, type Pods } from '../pods.ts'

const features = await probeFeatures()

export interface StageOptions {
  readonly attach?: 'tcx' | 'clsact'
  /** Default: what an agent would choose, so that the same tests run on both. */
  readonly podDevice?: PodDevice
  readonly ranges?: readonly string[]
}

/** What an agent process owns; `stop` ends it without touching the kernel. */
export interface Agent {
  readonly datapath: Datapath
  readonly ipam: Ipam
  readonly pods: Pods
  readonly health: Health
  stop(): Promise<void>
}

export class Stage {
  readonly node = NetworkNamespace.create()
  readonly netlink: RouteNetlink
  readonly features = features
  readonly #bpffs = mountBpffs()
  readonly #options: StageOptions
  readonly #opened: { close(): void }[] = []

  constructor(options: StageOptions = {}) {
    this.#options = options
    this.netlink = RouteNetlink.open({ netns: this.node })
  }

  get podDevice(): PodDevice {
    return this.#options.podDevice ?? choosePodDevice('auto', features)
  }

  get #attach(): 'tcx' | 'clsact' {
    return this.#options.attach ?? (features.has('tcx') ? 'tcx' : 'clsact')
  }

  /** A filter of clsact is held by its device; links are by pins. */
  get hasPins(): boolean {
    return this.podDevice === 'netkit' || this.#attach === 'tcx'
  }

  get bpfDir(): string {
    return join(this.#bpffs.path, 'sinabro')
  }

  /** A pod's namespace and a path to it, as a runtime would give. */
  namespace(): { readonly netns: NetworkNamespace; readonly path: string } {
    const netns = NetworkNamespace.create()
    this.#opened.push(netns)
    return { netns, path: `/proc/${process.pid}/fd/${netns.fd}` }
  }

  /** Everything an agent opens at its start, with its jobs running unless they are not wanted. */
  async start(options: {
    readonly crashPoint?: CrashPoint
    readonly isIdle?: boolean
    readonly podMtu?: () => number
    readonly keepsAddress?: () => boolean
    readonly stateDir: string
  }): Promise<Agent> {
    const log = silentLog
    const clock = systemClock
    const health = new Health(clock)
    const jobs = new Jobs({ log, health, clock })
    const { ranges = ['10.244.1.0/24', 'fd00:10:244:1::/64'] } = this.#options
    const netlink = RouteNetlink.open({ netns: this.node })
    const datapath = await Datapath.open({
      bpfDir: this.bpfDir,
      attach: this.#attach,
      features: this.features,
      netlink,
      netns: this.node,
      flowsMax: 1024,
      clock,
      log,
    })
    const ipam = await Ipam.open({ dir: options.stateDir, era: readEra(this.node), clock, log })
    ipam.setRanges(ranges)
    const pods = createPods({
      podDevice: this.podDevice,
      netlink,
      hostNamespace: this.node,
      datapath,
      ipam,
      podMtu: options.podMtu ?? (() => 1450),
      clock,
      health,
      log,
      ...(options.crashPoint === undefined ? {} : { crashPoint: options.crashPoint }),
      ...(options.keepsAddress === undefined ? {} : { keepsAddress: options.keepsAddress }),
    })
    if (options.isIdle !== true) {
      pods.start(jobs)
      await pods.settled()
    }
    return {
      datapath,
      ipam,
      pods,
      health,
      async stop() {
        await jobs.stop()
        datapath.close()
        netlink.close()
      },
    }
  }

  close(): void {
    this.netlink.close()
    for (const one of this.#opened) one.close()
    this.node.close()
    this.#bpffs.unmount()
  }
}

/** Everything in the node that is of one pod, as text: two equal states are equal texts. */
export async function snapshot(
  { netlink }: Stage,
  { datapath }: Agent,
): Promise<readonly string[]> {
  const seen: string[] = []
  const names = new Map<number, string>()
  for (const link of await netlink.links.list()) {
    if (link.name === 'lo') continue
    names.set(link.index, link.name)
    seen.push(`link ${link.name} ${link.alias} ${link.mac} ${link.mtu} up=${link.isUp}`)
    seen.push(`attached ${link.name} ${await datapath.isPodAttached(link)}`)
  }
  for (const route of await netlink.routes.list({ protocol: 91 })) {
    seen.push(`route ${route.dst} ${names.get(route.index ?? 0)}`)
  }
  for (const one of await netlink.neighbours.list()) {
    if (one.state === 'permanent')
      seen.push(`neighbour ${one.address} ${one.mac} ${names.get(one.index)}`)
  }
  for (const [address, { ifindex, ...row }] of datapath.podEndpoints()) {
    seen.push(`endpoint ${address} ${names.get(ifindex)} ${JSON.stringify(row)}`)
  }
  for (const device of datapath.pinnedDevices()) seen.push(`pins ${device}`)
  return seen.sort()
}

export function requestFor(containerId: string, netns: string) {
  return {
    key: { network: 'sinabro', containerId, ifname: 'eth0' },
    netns,
    podNamespace: 'default',
    podName: containerId,
  }
}

export type { Allocation }
