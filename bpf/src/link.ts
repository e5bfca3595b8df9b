// A bpf_link to a device's tcx hook: made, updated in place, pinned; while it lives the program is attached.
import { constants } from 'node:os'
import { Descriptor } from './descriptor.ts'
import { BpfError, check } from './error.ts'
import { bpfLinkInfo, infoOf } from './kernel-info.ts'
import { native } from './native.ts'
import { openPin, pinAt } from './pin.ts'
import type { BpfProgram } from './program.ts'
import { array, u32 } from './struct.ts'

export type Direction = 'ingress' | 'egress'

/** A namespace by its descriptor, as NetworkNamespace has it; absent = this process's. */
export interface Namespace {
  readonly fd: number
}

/** `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`: Linux 6.6. */
const attachTypes: Readonly<Record<Direction, number>> = { ingress: 46, egress: 47 }
/** `BPF_LINK_TYPE_TCX`. */
const LINK_TYPE_TCX = 11
/** `BPF_F_BEFORE` and `BPF_F_AFTER` without a relative: at the head, at the tail. */
const orderFlags = { first: 1 << 3, last: 1 << 4 } as const

export interface TcxPlace {
  readonly ifindex: number
  readonly direction: Direction
  readonly netns?: Namespace | undefined
}

export interface LinkInfo {
  readonly id: number
  readonly programId: number
  /** 0 once the device is gone: such a link can only be closed. */
  readonly ifindex: number
  /** Undefined if it is a link of another kind. */
  readonly direction: Direction | undefined
}

export class BpfLink {
  readonly #descriptor: Descriptor

  private constructor(fd: number) {
    this.#descriptor = new Descriptor(fd, 'link')
  }

  /**
   * Attaches; `first` runs before what others attached. On the thread pool: the kernel waits until every CPU has seen it,
   * 10 to 70 ms. update() waits for nobody.
   * @throws BpfError EEXIST if this very program is on the hook already
   */
  static async createTcx(
    place: TcxPlace & { readonly program: BpfProgram; readonly order?: 'first' | 'last' },
  ): Promise<BpfLink> {
    const { ifindex, direction, netns, program, order = 'first' } = place
    const fd = await native().linkCreate(
      netns?.fd ?? -1,
      program.fd,
      ifindex,
      attachTypes[direction],
      orderFlags[order],
    )
    return new BpfLink(check(fd, `attach ${program.name} to device ${ifindex} tcx ${direction}`))
  }

  /** Undefined if nothing is pinned there. */
  static openPinned(path: string): BpfLink | undefined {
    const fd = openPin(path)
    return fd === undefined ? undefined : new BpfLink(fd)
  }

  get fd(): number {
    return this.#descriptor.fd
  }

  info(): LinkInfo {
    const { type, id, progId, ifindex, attachType } = infoOf(this.fd, bpfLinkInfo)
    const isTcx = type === LINK_TYPE_TCX
    const directions: readonly Direction[] = ['ingress', 'egress']
    return {
      id,
      programId: progId,
      ifindex: isTcx ? ifindex : 0,
      direction: isTcx ? directions.find((d) => attachTypes[d] === attachType) : undefined,
    }
  }

  /**
   * Puts another program in place: each packet meets the old one or the new one, never none.
   * @throws BpfError ENOLINK if the device is gone
   */
  update(program: BpfProgram): void {
    check(native().linkUpdate(this.fd, program.fd), `BPF_LINK_UPDATE to ${program.name}`)
  }

  /** Takes the program off the device, also where others hold the link. On the thread pool, as createTcx(). */
  async detach(): Promise<void> {
    const result = await native().linkDetach(this.fd)
    // ENOLINK: the device went and took the attachment along.
    if (result !== -constants.errno.ENOLINK) check(result, 'BPF_LINK_DETACH')
  }

  pin(path: string): void {
    pinAt(this.fd, path)
  }

  close(): void {
    this.#descriptor.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

export interface AttachedProgram {
  readonly programId: number
  /** 0 = attached without a link. */
  readonly linkId: number
}

/** What is on a tcx hook, in the order it runs, ours and others'. */
export function listTcx({ ifindex, direction, netns }: TcxPlace): AttachedProgram[] {
  for (let room = 16; ; room *= 2) {
    const ids = array(u32, room)
    const programs = new Uint8Array(ids.size)
    const links = new Uint8Array(ids.size)
    const count = native().attachedQuery(
      netns?.fd ?? -1,
      ifindex,
      attachTypes[direction],
      programs,
      links,
    )
    if (count === -constants.errno.ENOSPC) continue
    check(count, `BPF_PROG_QUERY device ${ifindex} tcx ${direction}`)
    const linkIds = ids.decode(links)
    return ids
      .decode(programs)
      .slice(0, count)
      .map((programId, i) => ({ programId, linkId: linkIds[i] ?? 0 }))
  }
}

/** Whether this kernel has tcx (Linux 6.6): asked of the loopback device, which every namespace has. */
export function probeTcx(): boolean {
  try {
    listTcx({ ifindex: 1, direction: 'ingress' })
    return true
  } catch (error) {
    if (error instanceof BpfError && error.code === 'EINVAL') return false
    throw error
  }
}
