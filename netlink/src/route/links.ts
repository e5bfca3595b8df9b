// Verbs on network devices: list, get, add, set, del.
import type { NetlinkClient, Request } from '../client.ts'
import { isCode } from '../error.ts'
import { NLM_F_CREATE, NLM_F_EXCL } from '../socket-constants.ts'
import { RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK } from './constants.ts'
import type { Link, LinkChange, LinkFilter, LinkRef, LinkSpec, VethPeer } from './link.ts'
import { bridgeAttrs, vxlanAttrs, vxlanToWire } from './link-kinds.ts'
import {
  decodeLink,
  IFF_PROMISC,
  IFF_UP,
  kindData,
  type LinkAttrs,
  linkHeader,
  linkMessage,
  vethAttrs,
} from './link-message.ts'

const RTEXT_FILTER_SKIP_STATS = 1 << 3

export class Links {
  readonly #client: NetlinkClient

  constructor(client: NetlinkClient) {
    this.#client = client
  }

  async list({ kind, masterIndex, withStatistics = false }: LinkFilter = {}): Promise<Link[]> {
    const attrs: LinkAttrs = {
      masterIndex,
      info: kind === undefined ? undefined : { kind },
      extMask: extMask(withStatistics),
    }
    return this.#client.dump(request(RTM_GETLINK, 'RTM_GETLINK', {}, attrs), (header, payload) => {
      const link = header.type === RTM_NEWLINK ? decodeLink(payload) : undefined
      // Kernels before 4.20 do not filter, newer ones not by every kind.
      if (kind !== undefined && link?.kind !== kind) return undefined
      return masterIndex !== undefined && link?.masterIndex !== masterIndex ? undefined : link
    })
  }

  /** Undefined when there is none. */
  async get(ref: LinkRef): Promise<Link | undefined> {
    const { index, name } = refParts(ref)
    const attrs: LinkAttrs = { name, extMask: extMask(false) }
    try {
      return await this.#client.reply(
        request(RTM_GETLINK, 'RTM_GETLINK', { index }, attrs, refText(ref)),
        (header, payload) => (header.type === RTM_NEWLINK ? decodeLink(payload) : undefined),
      )
    } catch (error) {
      if (isCode(error, 'ENODEV')) return undefined
      throw error
    }
  }

  /**
   * Creates a device; EEXIST when the name is taken. What the kernel does not take at creation (alias, IPv6 address mode) is set
   * before the device goes up; if that fails, the device is removed again.
   */
  async add(spec: LinkSpec): Promise<void> {
    const { name, alias, addrGenMode, isUp = false } = spec
    const hasMore = alias !== undefined || addrGenMode !== undefined
    if (hasMore && spec.netns !== undefined) {
      throw new TypeError('alias and addrGenMode need a socket in the namespace of the device')
    }
    const attrs: LinkAttrs = {
      ...creationAttrs(spec),
      masterIndex: spec.masterIndex,
      info: { kind: spec.kind, data: specData(spec) },
    }
    const flags = upFlags(isUp && !hasMore)
    await this.#client.change(
      request(RTM_NEWLINK, 'RTM_NEWLINK', flags, attrs, name, NLM_F_CREATE | NLM_F_EXCL),
    )
    if (!hasMore) return
    try {
      await this.#set({ name }, { alias, addrGenMode, isUp: isUp ? true : undefined })
    } catch (error) {
      await this.del({ name })
      throw error
    }
  }

  /** Changes what is given. ENODEV when there is no such device. */
  async set(ref: LinkRef, change: LinkChange): Promise<void> {
    await this.#set(ref, change)
  }

  /** False when it was not there. Deleting one end of a veth deletes the other. */
  async del(ref: LinkRef): Promise<boolean> {
    const { index, name } = refParts(ref)
    try {
      await this.#client.change(
        request(RTM_DELLINK, 'RTM_DELLINK', { index }, { name }, refText(ref)),
      )
      return true
    } catch (error) {
      if (isCode(error, 'ENODEV')) return false
      throw error
    }
  }

  async #set(ref: LinkRef, change: LinkChange): Promise<void> {
    const { index, name } = refParts(ref)
    const { addrGenMode, isUp, isPromiscuous } = change
    const renamed = change.name
    if (renamed !== undefined && index === 0) throw new TypeError('renaming takes an index')
    const attrs: LinkAttrs = {
      name: renamed ?? name,
      mac: change.mac,
      mtu: change.mtu,
      group: change.group,
      txQueueLen: change.txQueueLen,
      masterIndex: change.masterIndex === null ? 0 : change.masterIndex,
      alias: change.alias === null ? '' : change.alias,
      netnsFd: change.netns?.fd,
      afSpec: addrGenMode === undefined ? undefined : { inet6: { addrGenMode } },
      info: changeInfo(change),
    }
    const promisc = flagChange(IFF_PROMISC, isPromiscuous)
    const up = flagChange(IFF_UP, isUp)
    // In one message the kernel brings the device up, and makes its link-local address, before it looks at the mode.
    if (addrGenMode !== undefined && isUp === true) {
      await this.#modify({ index, ...promisc }, attrs, ref)
      await this.#modify({ index, ...up }, { name: renamed ?? name }, ref)
      return
    }
    const flags = { flags: promisc.flags | up.flags, change: promisc.change | up.change }
    await this.#modify({ index, ...flags }, attrs, ref)
  }

  #modify(header: Header, attrs: LinkAttrs, ref: LinkRef): Promise<void> {
    return this.#client.change(request(RTM_NEWLINK, 'RTM_NEWLINK', header, attrs, refText(ref)))
  }
}

type Header = Parameters<typeof linkHeader>[0]

function request(
  type: number,
  op: string,
  header: Header,
  attrs: LinkAttrs,
  what?: string,
  flags = 0,
): Request {
  return {
    type,
    op,
    flags,
    ...(what === undefined ? {} : { subject: `link ${what}` }),
    encode: (writer) => linkMessage.encode(writer, { header: linkHeader(header), attrs }),
  }
}

/** Without it the kernel adds up counters over all CPUs for each device. */
function extMask(withStatistics: boolean): number {
  return withStatistics ? 0 : RTEXT_FILTER_SKIP_STATS
}

/** What both ends of a veth, and every new device, take in the same way. */
function creationAttrs(spec: LinkSpec | VethPeer): LinkAttrs {
  const { name, mac, mtu, group, txQueueLen, txQueues, rxQueues, netns } = spec
  return { name, mac, mtu, group, txQueueLen, txQueues, rxQueues, netnsFd: netns?.fd }
}

function specData(spec: LinkSpec): Uint8Array {
  switch (spec.kind) {
    case 'veth': {
      const header = linkHeader(upFlags(spec.peer.isUp ?? false))
      return kindData(vethAttrs, { peer: { header, attrs: creationAttrs(spec.peer) } })
    }
    case 'vxlan':
      return kindData(vxlanAttrs, vxlanToWire(spec))
    case 'bridge':
      return kindData(bridgeAttrs, spec)
  }
}

function changeInfo({ vxlan, bridge }: LinkChange): LinkAttrs['info'] {
  if (vxlan) return { kind: 'vxlan', data: kindData(vxlanAttrs, vxlanToWire(vxlan)) }
  if (bridge) return { kind: 'bridge', data: kindData(bridgeAttrs, bridge) }
  return undefined
}

function upFlags(isUp: boolean): { flags: number; change: number } {
  return isUp ? { flags: IFF_UP, change: IFF_UP } : { flags: 0, change: 0 }
}

function flagChange(bit: number, wanted: boolean | undefined): { flags: number; change: number } {
  return { flags: wanted ? bit : 0, change: wanted === undefined ? 0 : bit }
}

function refParts(ref: LinkRef): { index: number; name: string | undefined } {
  const index = typeof ref === 'number' ? ref : 'index' in ref ? ref.index : 0
  const name = typeof ref === 'object' && 'name' in ref ? ref.name : undefined
  if (name === undefined && (!Number.isInteger(index) || index <= 0)) {
    throw new RangeError(`${index} is not the index of a device`)
  }
  return { index: name === undefined ? index : 0, name }
}

function refText(ref: LinkRef): string {
  if (typeof ref === 'number') return `#${ref}`
  return 'name' in ref ? ref.name : `#${ref.index}`
}
