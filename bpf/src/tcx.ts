// The tcx and netkit hooks of a device (Linux 6.6, 6.7): what is on them.
import { type Direction, netkitTypes, tcxTypes } from './attach-type.ts'
import { type AttachedProgram, queryAttached } from './attached.ts'
import { BpfError } from './error.ts'

/** A namespace by its descriptor, as NetworkNamespace has it; absent = this process's. */
export interface Namespace {
  readonly fd: number
}

export interface TcxPlace {
  readonly ifindex: number
  readonly direction: Direction
  readonly netns?: Namespace | undefined
}

/**
 * What is on a tcx hook, in the order it runs, ours and others'.
 * @throws BpfError 'unsupported' before Linux 6.6
 */
export function listTcx(place: TcxPlace): AttachedProgram[] {
  const op = `BPF_PROG_QUERY device ${place.ifindex} tcx ${place.direction}`
  try {
    return query(place, op)
  } catch (error) {
    if (isInvalid(error) && !probeTcx()) throw tcxUnsupported(op)
    throw error
  }
}

/** The same for a netkit pair, by its primary end; nothing is on a device that is none. */
export function listNetkit({ ifindex, direction, netns }: TcxPlace): AttachedProgram[] {
  try {
    return queryAttached({
      op: `BPF_PROG_QUERY device ${ifindex} netkit ${direction}`,
      target: ifindex,
      attachType: netkitTypes[direction],
      netnsFd: netns?.fd ?? -1,
      hasLinkIds: true,
    })
  } catch (error) {
    if (error instanceof BpfError && error.code === 'ENXIO') return []
    throw error
  }
}

/** Whether this kernel has tcx: asked of the loopback device, which every namespace has. */
export function probeTcx(): boolean {
  try {
    query({ ifindex: 1, direction: 'ingress' }, 'probe tcx')
    return true
  } catch (error) {
    if (isInvalid(error)) return false
    throw error
  }
}

export function tcxUnsupported(op: string): BpfError {
  return new BpfError(op, { code: 'unsupported', detail: 'tcx came with Linux 6.6' })
}

function query({ ifindex, direction, netns }: TcxPlace, op: string): AttachedProgram[] {
  return queryAttached({
    op,
    target: ifindex,
    attachType: tcxTypes[direction],
    netnsFd: netns?.fd ?? -1,
    hasLinkIds: true,
  })
}

function isInvalid(error: unknown): boolean {
  return error instanceof BpfError && error.code === 'EINVAL'
}
