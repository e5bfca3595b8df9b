// A bpf_link: made on a hook, updated in place, pinned; while it lives the program is attached.
import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import {
  BPF_XDP,
  type CgroupHook,
  cgroupTypes,
  type Direction,
  linkTypes,
  nameOf,
  netkitTypes,
  tcxTypes,
} from './attach-type.ts'
import { type CgroupPlace, openCgroup } from './cgroup.ts'
import { Descriptor } from './descriptor.ts'
import { check } from './error.ts'
import {
  bpfLinkInfo,
  bpfLinkInfoCgroup,
  bpfLinkInfoDevice,
  bpfLinkInfoIterator,
  infoOf,
} from './kernel-info.ts'
import type { BpfMap } from './map.ts'
import { native } from './native.ts'
import { openPin, pinAt } from './pin.ts'
import type { BpfProgram } from './program.ts'
import { type Namespace, probeTcx, type TcxPlace, tcxUnsupported } from './tcx.ts'

/** `BPF_F_BEFORE` and `BPF_F_AFTER` without a relative: at the head, at the tail. */
const orderFlags = { first: 1 << 3, last: 1 << 4 } as const

/** `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE` of `include/uapi/linux/if_link.h`. */
const xdpFlags = { generic: 1 << 1, native: 1 << 2 } as const
/** In the stack after a buffer was made, on every device; or in the driver, before, where it can. */
export type XdpMode = keyof typeof xdpFlags

export interface XdpPlace {
  readonly ifindex: number
  readonly netns?: Namespace | undefined
}

interface LinkOwner {
  readonly id: number
  readonly programId: number
}

/** An ifindex or a cgroup's id of 0: it is gone, and such a link can only be closed. */
export type LinkInfo = LinkOwner &
  (
    | {
        readonly kind: 'tcx'
        readonly ifindex: number
        readonly direction: Direction | undefined
      }
    /** It names the end that it is on by an index of that one's namespace, which says nothing here: see listNetkit(). */
    | { readonly kind: 'netkit'; readonly direction: Direction | undefined }
    | { readonly kind: 'xdp'; readonly ifindex: number }
    | {
        readonly kind: 'cgroup'
        /** The inode number of its directory. */
        readonly cgroupId: bigint
        readonly hook: CgroupHook | undefined
      }
    /** 0 if it does not go over a map's entries. */
    | { readonly kind: 'iterator'; readonly mapId: number }
    | { readonly kind: 'unknown' }
  )

export class BpfLink {
  readonly #descriptor: Descriptor

  private constructor(fd: number) {
    this.#descriptor = new Descriptor(fd, 'link')
  }

  /**
   * Attaches; `first` runs before what others attached. On the thread pool: the kernel waits until every CPU has seen it,
   * 10 to 70 ms.
   * @throws BpfError EEXIST if this very program is on the hook already; 'unsupported' before Linux 6.6
   */
  static async createTcx(
    place: TcxPlace & { readonly program: BpfProgram; readonly order?: 'first' | 'last' },
  ): Promise<BpfLink> {
    const { ifindex, direction, netns, program, order = 'first' } = place
    const fd = await native().linkCreate(
      netns?.fd ?? -1,
      program.fd,
      ifindex,
      tcxTypes[direction],
      orderFlags[order],
    )
    const op = `attach ${program.name} to device ${ifindex} tcx ${direction}`
    if (fd === -constants.errno.EINVAL && !probeTcx()) throw tcxUnsupported(op)
    return new BpfLink(check(fd, op))
  }

  /**
   * Attaches to a netkit pair, by its primary end: 'ingress' judges what the other end sends, 'egress' what is sent to it. Takes the
   * place of the policy. On the thread pool, as createTcx().
   * @throws BpfError ENXIO if the device is no netkit, EACCES if it is not the primary
   */
  static async createNetkit(place: TcxPlace & { readonly program: BpfProgram }): Promise<BpfLink> {
    const { ifindex, direction, netns, program } = place
    const fd = await native().linkCreate(
      netns?.fd ?? -1,
      program.fd,
      ifindex,
      netkitTypes[direction],
      orderFlags.first,
    )
    return new BpfLink(check(fd, `attach ${program.name} to device ${ifindex} netkit ${direction}`))
  }

  /**
   * Attaches the one XDP program that a device has in this mode. On the thread pool, as createTcx().
   * @throws BpfError EBUSY, EEXIST if there is one; EOPNOTSUPP if the driver has no native mode
   */
  static async createXdp(
    place: XdpPlace & { readonly program: BpfProgram; readonly mode: XdpMode },
  ): Promise<BpfLink> {
    const { ifindex, netns, program, mode } = place
    const flags = xdpFlags[mode]
    const fd = await native().linkCreate(netns?.fd ?? -1, program.fd, ifindex, BPF_XDP, flags)
    return new BpfLink(check(fd, `attach ${program.name} to device ${ifindex} xdp ${mode}`))
  }

  /** Attaches beside what others attached there. On the thread pool, as createTcx(). */
  static async createCgroup(
    place: CgroupPlace & { readonly program: BpfProgram },
  ): Promise<BpfLink> {
    const { path, hook, program } = place
    const cgroup = openCgroup(path)
    try {
      const fd = await native().linkCreate(-1, program.fd, cgroup, cgroupTypes[hook], 0)
      return new BpfLink(check(fd, `attach ${program.name} to cgroup ${path} ${hook}`))
    } finally {
      closeSync(cgroup)
    }
  }

  /** Of a SEC("iter/…") program; with `map` it goes over that map's entries. BpfIterator reads it. */
  static createIterator(options: { readonly program: BpfProgram; readonly map?: BpfMap }): BpfLink {
    const { program, map } = options
    const over = map === undefined ? '' : ` over map ${map.info.name}`
    const fd = native().iteratorLink(program.fd, map?.fd ?? -1)
    return new BpfLink(check(fd, `iterator ${program.name}${over}`))
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
    const { type, id, progId, member } = infoOf(this.fd, bpfLinkInfo)
    const owner = { id, programId: progId }
    if (type === linkTypes.tcx) {
      const { ifindex, attachType } = bpfLinkInfoDevice.decode(member)
      return { ...owner, kind: 'tcx', ifindex, direction: nameOf(tcxTypes, attachType) }
    }
    if (type === linkTypes.netkit) {
      const { attachType } = bpfLinkInfoDevice.decode(member)
      return { ...owner, kind: 'netkit', direction: nameOf(netkitTypes, attachType) }
    }
    if (type === linkTypes.xdp) {
      return { ...owner, kind: 'xdp', ifindex: bpfLinkInfoDevice.decode(member).ifindex }
    }
    if (type === linkTypes.cgroup) {
      const { cgroupId, attachType } = bpfLinkInfoCgroup.decode(member)
      return { ...owner, kind: 'cgroup', cgroupId, hook: nameOf(cgroupTypes, attachType) }
    }
    if (type === linkTypes.iterator) {
      return { ...owner, kind: 'iterator', mapId: bpfLinkInfoIterator.decode(member).mapId }
    }
    return { ...owner, kind: 'unknown' }
  }

  /**
   * Puts another program in place: each event meets the old one or the new one, never none. On the thread pool: on tcx
   * and cgroups it takes microseconds, but devices may be locked by others, and XDP waits as createXdp() does.
   * @throws BpfError ENOLINK if the device or the cgroup is gone
   */
  async update(program: BpfProgram): Promise<void> {
    const result = await native().linkUpdate(this.fd, program.fd)
    check(result, `BPF_LINK_UPDATE to ${program.name}`)
  }

  /** Takes the program off, also where others hold the link. On the thread pool, as createTcx(). */
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
