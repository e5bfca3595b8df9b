// Our program on a device's tc hook, by tcx, clsact or netkit: put there, replaced without a gap, found again, taken off.
import type { RouteNetlink } from '@sinabro/node-netlink'
import type { Direction } from './attach-type.ts'
import { BpfLink, type LinkInfo } from './link.ts'
import { dropPinnedLink, keepPinnedLink } from './pinned-link.ts'
import type { BpfProgram } from './program.ts'
import { listNetkit, listTcx, type Namespace } from './tcx.ts'

/** netkit devices have hooks of their own, before those of tc; of the others 'netkit' is refused with ENXIO. */
export type TcMode = 'tcx' | 'clsact' | 'netkit'

/** One hook and how our attachment on it is recognised. */
export interface TcHook {
  readonly ifindex: number
  readonly direction: Direction
  /** Where the link of tcx or netkit is pinned: a path of its own for each hook. */
  readonly pinPath: string
  /** Of the clsact filter, together our mark. */
  readonly priority: number
  readonly handle: number
  /** Of the clsact filter, as `tc filter show` prints it. */
  readonly name: string
  /** In the namespace of the device. */
  readonly netlink: Pick<RouteNetlink, 'qdiscs' | 'filters'>
  /** The device's namespace, if it is not this process's; the same that `netlink` is in. */
  readonly netns?: Namespace
}

export interface TcAttachOptions extends TcHook {
  readonly program: BpfProgram
  /** tcx takes Linux 6.6: probeTcx(). */
  readonly mode: TcMode
  /** Among other tcx programs; on clsact the priority decides. Default 'first'. */
  readonly order?: 'first' | 'last'
}

export interface TcAttached {
  readonly mode: TcMode
  readonly programId: number
}

/**
 * Makes `program` the one on the hook, whatever of ours was there; packets meet the old or the new one, never none.
 * Idempotent; one call at a time for each hook.
 */
async function attach(options: TcAttachOptions): Promise<void> {
  // What the other mode left goes after the new one is in place: twice is better than not at all.
  if (options.mode === 'netkit') {
    await attachNetkit(options)
  } else if (options.mode === 'tcx') {
    await attachTcx(options)
    await detachClsact(options)
  } else {
    await attachClsact(options)
    await dropPinnedLink(options.pinPath)
  }
}

async function attachNetkit(options: TcAttachOptions): Promise<void> {
  const { pinPath, program } = options
  await keepPinnedLink({
    pinPath,
    program,
    isHere: (link) => isOn(link, options),
    create: () => BpfLink.createNetkit(options),
  })
}

async function attachTcx(options: TcAttachOptions): Promise<void> {
  const { pinPath, program } = options
  await keepPinnedLink({
    pinPath,
    program,
    isHere: (link) => isOn(link, options),
    create: () => BpfLink.createTcx(options),
  })
}

function isOn(link: LinkInfo, hook: TcHook): boolean {
  if (link.kind === 'netkit') return listNetkit(hook).some(({ linkId }) => linkId === link.id)
  return link.kind === 'tcx' && link.ifindex === hook.ifindex && link.direction === hook.direction
}

async function attachClsact(options: TcAttachOptions): Promise<void> {
  const { netlink, ifindex, direction, priority, handle, name, program } = options
  const present = (await listClsact(options)).some(({ programId }) => programId === program.id)
  if (present) return
  await netlink.qdiscs.replace({ index: ifindex, kind: 'clsact' })
  await netlink.filters.replaceBpf({
    index: ifindex,
    parent: direction,
    priority,
    handle,
    fd: program.fd,
    name,
  })
}

/** Takes ours off in either mode; false if nothing was there. The device may be gone. */
async function detach(hook: TcHook): Promise<boolean> {
  const hadTcx = await dropPinnedLink(hook.pinPath)
  const hadClsact = await detachClsact(hook)
  return hadTcx || hadClsact
}

async function detachClsact(hook: TcHook): Promise<boolean> {
  const { netlink, ifindex, direction, priority, handle } = hook
  if ((await listClsact(hook)).length === 0) return false
  return netlink.filters.del({ index: ifindex, parent: direction, priority, handle })
}

/** What of ours is on the hook: nothing, one, or (between two modes) both. */
async function list(hook: TcHook): Promise<TcAttached[]> {
  return [...listPinned(hook), ...(await listClsact(hook))]
}

function listPinned(hook: TcHook): TcAttached[] {
  using link = BpfLink.openPinned(hook.pinPath)
  if (link === undefined) return []
  const info = link.info()
  const { id, kind } = info
  if ((kind !== 'tcx' && kind !== 'netkit') || !isOn(info, hook)) return []
  return (kind === 'netkit' ? listNetkit : listTcx)(hook)
    .filter(({ linkId }) => linkId === id)
    .map(({ programId }) => ({ mode: kind, programId }))
}

async function listClsact(hook: TcHook): Promise<TcAttached[]> {
  const { netlink, ifindex, direction, priority, handle } = hook
  const filters = await netlink.filters.list({ index: ifindex, parent: direction })
  return filters
    .filter((filter) => filter.priority === priority && filter.handle === handle)
    .map((filter) => ({ mode: 'clsact', programId: filter.bpf?.programId ?? 0 }))
}

export const TcAttachment = { attach, detach, list } as const
