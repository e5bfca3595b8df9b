// Which programs are loaded and what hangs where: read from the kernel, hook by hook, ours and others'.
import { type BpfProgram, type Direction, listNetkit, listTcx } from '@sinabro/libbpf-ts'
import type { Link, NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import type { AttachedView, ProgramsView } from '../api/views.ts'
import type { Features } from '../features/features.ts'
import { ALIAS_PREFIX, TC_HANDLE, TC_PRIORITY } from '../marks.ts'
import type { TunnelMode } from '../overlay/rows.ts'

export interface ProgramsOptions {
  readonly netlink: Pick<RouteNetlink, 'links' | 'filters'>
  /** The devices' namespace, if it is not this process's. */
  readonly netns?: NetworkNamespace
  readonly features: Features
  readonly programs: readonly BpfProgram[]
  readonly mode: TunnelMode
  /** Names of the node's own devices that programs hang on. */
  readonly uplinks: readonly string[]
  /** Link ids that our pins hold. */
  readonly ownLinks: ReadonlySet<number>
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress']

export async function describePrograms(options: ProgramsOptions): Promise<ProgramsView> {
  const names = new Map(options.programs.map(({ id, name }) => [id, name]))
  const links = await options.netlink.links.list()
  const attached: AttachedView[] = []
  const isUplink = ({ name }: Link): boolean => options.uplinks.includes(name)
  const isOurs = ({ alias }: Link): boolean => alias?.startsWith(ALIAS_PREFIX) === true
  for (const link of links.filter((one) => isOurs(one) || isUplink(one))) {
    for (const direction of DIRECTIONS) {
      for (const one of await listHook(link, direction, options)) {
        const program = names.get(one.programId)
        const isKnown = program !== undefined || one.isOurs
        attached.push({
          device: link.name,
          of: isUplink(link) ? 'uplink' : (link.alias?.slice(ALIAS_PREFIX.length) ?? ''),
          direction,
          way: one.way,
          programId: one.programId,
          ...(program === undefined ? {} : { program }),
          state: program !== undefined ? 'current' : isKnown ? 'earlier' : 'foreign',
        })
      }
    }
  }
  return {
    programs: options.programs.map((program) => {
      const { name, id, type, verifiedInstructions, jitedBytes } = program
      const { runCount, runTimeNs } = program.runStatistics()
      const runs = { runs: Number(runCount), runTimeNs: Number(runTimeNs) }
      return { name, id, type, verifiedInstructions, jitedBytes, ...runs }
    }),
    mode: options.mode,
    attached,
  }
}

interface OnHook {
  readonly way: 'xdp' | 'tcx' | 'clsact' | 'netkit'
  readonly programId: number
  readonly isOurs: boolean
}

/** XDP and netkit's own run before all; tcx runs before clsact; within clsact the lower priority does. */
async function listHook(
  { index, kind, xdpProgramId }: Link,
  direction: Direction,
  { netlink, netns, features, ownLinks }: ProgramsOptions,
): Promise<OnHook[]> {
  const place = { ifindex: index, direction, ...(netns === undefined ? {} : { netns }) }
  const tcx = features.has('tcx') ? listTcx(place) : []
  const netkit = kind === 'netkit' ? listNetkit(place) : []
  const filters = await netlink.filters.list({ index, parent: direction })
  const xdp = direction === 'ingress' && xdpProgramId !== undefined ? [xdpProgramId] : []
  return [
    ...xdp.map((programId): OnHook => ({ way: 'xdp', programId, isOurs: false })),
    ...netkit.map(({ programId, linkId }): OnHook => {
      return { way: 'netkit', programId, isOurs: ownLinks.has(linkId) }
    }),
    ...tcx.map(({ programId, linkId }): OnHook => {
      return { way: 'tcx', programId, isOurs: ownLinks.has(linkId) }
    }),
    ...filters
      .filter(({ bpf }) => bpf?.programId !== undefined)
      .sort((a, b) => a.priority - b.priority)
      .map(({ bpf, priority, handle }): OnHook => {
        const isOurs = priority === TC_PRIORITY && handle === TC_HANDLE
        return { way: 'clsact', programId: bpf?.programId ?? 0, isOurs }
      }),
  ]
}
