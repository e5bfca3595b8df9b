// Our program on a device's tc hook, by tcx or clsact: put there, replaced without a gap, found again, taken off.
import { renameSync } from 'node:fs'
import type { RouteNetlink } from '@sinabro/node-netlink'
import {
  type AttachedProgram,
  BpfLink,
  type Direction,
  listTcx,
  type Namespace,
  probeTcx,
} from './link.ts'
import { unpin } from './pin.ts'
import type { BpfProgram } from './program.ts'

export type TcMode = 'tcx' | 'clsact'

/** One hook and how our attachment on it is recognised. */
export interface TcHook {
  readonly ifindex: number
  readonly direction: Direction
  /** Where the tcx link is pinned: a path of its own for each hook. */
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
  /** auto: tcx where the kernel has it. */
  readonly mode: 'auto' | TcMode
  /** Among other tcx programs; on clsact the priority decides. Default 'first'. */
  readonly order?: 'first' | 'last'
}

export interface TcAttached {
  readonly mode: TcMode
  readonly programId: number
}

/**
 * Makes `program` the one on the hook, whatever of ours was there; packets meet the old or the new one, never none.
 * Idempotent; one call at a time for each hook. Returns the mode it took.
 */
async function attach(options: TcAttachOptions): Promise<TcMode> {
  const mode = options.mode === 'auto' ? (probeTcx() ? 'tcx' : 'clsact') : options.mode
  // What the other mode left goes after the new one is in place: twice is better than not at all.
  if (mode === 'tcx') {
    await attachTcx(options)
    await detachClsact(options)
  } else {
    await attachClsact(options)
    await detachTcx(options)
  }
  return mode
}

async function attachTcx(options: TcAttachOptions): Promise<void> {
  const { ifindex, direction, pinPath, program } = options
  using pinned = BpfLink.openPinned(pinPath)
  if (pinned !== undefined) {
    const info = pinned.info()
    if (info.ifindex === ifindex && info.direction === direction) {
      if (info.programId !== program.id) pinned.update(program)
      return
    }
  }
  using link = await BpfLink.createTcx(options)
  if (pinned === undefined) {
    link.pin(pinPath)
    return
  }
  // The pinned link is of a device that is gone, or another: its name passes over in one step.
  const staging = `${pinPath}_new`
  unpin(staging)
  link.pin(staging)
  renameSync(staging, pinPath)
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
  const hadTcx = await detachTcx(hook)
  const hadClsact = await detachClsact(hook)
  return hadTcx || hadClsact
}

async function detachTcx({ pinPath }: TcHook): Promise<boolean> {
  using link = BpfLink.openPinned(pinPath)
  if (link === undefined) return false
  await link.detach()
  return unpin(pinPath)
}

async function detachClsact(hook: TcHook): Promise<boolean> {
  const { netlink, ifindex, direction, priority, handle } = hook
  if ((await listClsact(hook)).length === 0) return false
  return netlink.filters.del({ index: ifindex, parent: direction, priority, handle })
}

/** What of ours is on the hook: nothing, one, or (between two modes) both. */
async function list(hook: TcHook): Promise<TcAttached[]> {
  return [...listOurTcx(hook), ...(await listClsact(hook))]
}

function listOurTcx(hook: TcHook): TcAttached[] {
  using link = BpfLink.openPinned(hook.pinPath)
  if (link === undefined) return []
  const { id, ifindex, direction } = link.info()
  if (ifindex !== hook.ifindex || direction !== hook.direction) return []
  const ours = (attached: AttachedProgram) => attached.linkId === id
  return listTcx(hook)
    .filter(ours)
    .map(({ programId }) => ({ mode: 'tcx', programId }))
}

async function listClsact(hook: TcHook): Promise<TcAttached[]> {
  const { netlink, ifindex, direction, priority, handle } = hook
  const filters = await netlink.filters.list({ index: ifindex, parent: direction })
  return filters
    .filter((filter) => filter.priority === priority && filter.handle === handle)
    .map((filter) => ({ mode: 'clsact', programId: filter.bpf?.programId ?? 0 }))
}

export const TcAttachment = { attach, detach, list } as const
