// What a family of generic netlink tells its multicast groups.
import type { Reader } from '../codec/reader.ts'
import { EINVAL, NetlinkError } from '../error.ts'
import { type MonitorOptions, NetlinkMonitor } from '../monitor.ts'
import { NETLINK_GENERIC } from '../socket-constants.ts'
import type { GenericFamily } from './family.ts'
import { genlmsghdr } from './family-message.ts'
import { GenericNetlink } from './generic-netlink.ts'

export interface GenericMonitorOptions<Event> extends MonitorOptions<Event> {
  /** 'ethtool', 'netdev', …. */
  readonly family: string
  /** By name: 'monitor', 'mgmt', …. */
  readonly groups: readonly string[]
  /** With the cursor behind the generic header; undefined for what is not worth an event. */
  readonly decode: (command: number, payload: Reader) => Event | undefined
}

/** Listens from `open()` to `close()`, and keeps the process alive so long. */
export class GenericMonitor<Event> {
  readonly #monitor: NetlinkMonitor<Event>

  private constructor(monitor: NetlinkMonitor<Event>) {
    this.#monitor = monitor
  }

  /** ENOENT when the kernel has no such family, EINVAL when the family has no such group. */
  static async open<Event>(options: GenericMonitorOptions<Event>): Promise<GenericMonitor<Event>> {
    const { netns, decode } = options
    const netlink = GenericNetlink.open({ netns })
    try {
      const family = await netlink.family(options.family)
      const source = {
        protocol: NETLINK_GENERIC,
        groups: options.groups.map((name) => groupId(family, name)),
        decode: ({ type }: { readonly type: number }, payload: Reader) =>
          type === family.id ? decode(genlmsghdr.decode(payload).command, payload) : undefined,
      }
      return new GenericMonitor(NetlinkMonitor.open(source, options))
    } finally {
      netlink.close()
    }
  }

  close(): void {
    this.#monitor.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function groupId(family: GenericFamily, name: string): number {
  const group = family.groups.find((one) => one.name === name)
  if (group) return group.id
  const names = family.groups.map((one) => one.name).join(', ')
  throw new NetlinkError({
    op: 'NETLINK_ADD_MEMBERSHIP',
    subject: `${family.name} ${name}`,
    errno: EINVAL,
    extAck: { message: `the family has the groups ${names || '(none)'}`, offset: 0 },
  })
}
