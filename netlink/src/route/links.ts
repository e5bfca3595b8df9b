// Verbs on network devices: list, get, add, set, del.
import { NetlinkClient } from '../client.ts'
import { isCode } from '../error.ts'
import type { NetworkNamespace } from '../namespace.ts'
import type { Request, Requests } from '../requests.ts'
import { NetlinkSocket } from '../socket.ts'
import { NETLINK_ROUTE, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL } from '../socket-constants.ts'
import { RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK } from './constants.ts'
import type { Link, LinkChange, LinkFilter, LinkRef, LinkSpec, VethPeer } from './link.ts'
import {
  bondAttrs,
  bridgeAttrs,
  macvlanAttrs,
  vlanAttrs,
  vrfAttrs,
  vxlanAttrs,
  vxlanToWire,
} from './link-kinds.ts'
import {
  decodeLink,
  IFF_PROMISC,
  IFF_UP,
  kindData,
  type LinkAttrs,
  linkHeader,
  linkMessage,
  netkitData,
  vethAttrs,
} from './link-message.ts'

/** Leaves out the IPv6 counters of each device, over a kilobyte that nobody here decodes. */
const RTEXT_FILTER_SKIP_STATS = 1 << 3

export class Links {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  async list({ kind, masterIndex }: LinkFilter = {}): Promise<Link[]> {
    const attrs: LinkAttrs = {
      masterIndex,
      info: kind === undefined ? undefined : { kind },
      extMask: RTEXT_FILTER_SKIP_STATS,
    }
    return this.#requests.dump(
      request(RTM_GETLINK, 'RTM_GETLINK', {}, attrs),
      (header, payload) => {
        const link = header.type === RTM_NEWLINK ? decodeLink(payload) : undefined
        // Kernels before 4.20 do not filter, newer ones not by every kind.
        if (kind !== undefined && link?.kind !== kind) return undefined
        return masterIndex !== undefined && link?.masterIndex !== masterIndex ? undefined : link
      },
    )
  }

  /** Undefined when there is none. */
  async get(ref: LinkRef): Promise<Link | undefined> {
    const { index, name } = refParts(ref)
    const attrs: LinkAttrs = { name, extMask: RTEXT_FILTER_SKIP_STATS }
    try {
      return await this.#requests.reply(
        request(RTM_GETLINK, 'RTM_GETLINK', { index }, attrs, refText(ref)),
        (header, payload) => (header.type === RTM_NEWLINK ? decodeLink(payload) : undefined),
      )
    } catch (error) {
      if (isCode(error, 'ENODEV')) return undefined
      throw error
    }
  }

  /**
   * Creates a device; EEXIST when the name is taken. What the kernel does not take at creation (alias, IPv6 address mode, a veth
   * peer that is up) follows in requests of its own, the device going up last; if one fails, the device is removed again.
   */
  async add(spec: LinkSpec): Promise<void> {
    const { name, netns, alias, addrGenMode, isUp = false } = spec
    const hasMore = alias !== undefined || addrGenMode !== undefined
    const attrs: LinkAttrs = {
      ...creationAttrs(spec),
      peerIndex: 'lowerIndex' in spec ? spec.lowerIndex : undefined,
      masterIndex: spec.masterIndex,
      info: { kind: spec.kind, data: specData(spec) },
    }
    const flags = flagChange(IFF_UP, isUp && !hasMore ? true : undefined)
    await this.#requests.change(
      request(RTM_NEWLINK, 'RTM_NEWLINK', flags, attrs, name, NLM_F_CREATE | NLM_F_EXCL),
    )
    try {
      // veth_open() is ENOTCONN until the two ends are tied together, which is after the flags of the peer are applied.
      if (spec.kind === 'veth' && spec.peer.isUp) {
        const peer = spec.peer.name
        await this.#inside(spec.peer.netns, (links) => links.set({ name: peer }, { isUp: true }))
      }
      if (hasMore) {
        const rest = { alias, addrGenMode, isUp: isUp || undefined }
        await this.#inside(netns, (links) => links.set({ name }, rest))
      }
    } catch (error) {
      await this.#inside(netns, (links) => links.del({ name }))
      throw error
    }
  }

  /** Changes what is given. ENODEV when there is no such device. */
  async set(ref: LinkRef, change: LinkChange): Promise<void> {
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

  /**
   * False when it was not there. Deleting one end of a veth deletes the other. Resolves when device, addresses, routes and filters
   * are gone; the kernel then waits, often 20 ms, until nobody looks at their memory, and only afterwards acknowledges. Before
   * Linux 6.2, which does not echo deletions, the acknowledgement is all there is to wait for.
   */
  async del(ref: LinkRef): Promise<boolean> {
    const { index, name } = refParts(ref)
    try {
      await this.#requests.changeAside(
        request(RTM_DELLINK, 'RTM_DELLINK', { index }, { name }, refText(ref), NLM_F_ECHO),
        ({ type }) => type === RTM_DELLINK,
      )
      return true
    } catch (error) {
      if (isCode(error, 'ENODEV')) return false
      throw error
    }
  }

  /** Over this socket, or over one of its own where the device is elsewhere. */
  async #inside(
    netns: NetworkNamespace | undefined,
    run: (links: Links) => Promise<unknown>,
  ): Promise<void> {
    if (netns === undefined) {
      await run(this)
      return
    }
    const client = new NetlinkClient(new NetlinkSocket({ protocol: NETLINK_ROUTE, netns }))
    try {
      await run(new Links(client))
    } finally {
      client.close()
    }
  }

  #modify(header: Header, attrs: LinkAttrs, ref: LinkRef): Promise<void> {
    return this.#requests.change(request(RTM_NEWLINK, 'RTM_NEWLINK', header, attrs, refText(ref)))
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

/** What both ends of a veth, and every new device, take in the same way. */
function creationAttrs(spec: LinkSpec | VethPeer): LinkAttrs {
  const { name, mac, mtu, group, txQueueLen, txQueues, rxQueues, netns } = spec
  return { name, mac, mtu, group, txQueueLen, txQueues, rxQueues, netnsFd: netns?.fd }
}

function specData(spec: LinkSpec): Uint8Array {
  switch (spec.kind) {
    case 'veth': {
      const header = linkHeader({})
      return kindData(vethAttrs, { peer: { header, attrs: creationAttrs(spec.peer) } })
    }
    case 'netkit': {
      const { mode, policy, peerPolicy } = spec
      const peer = { header: linkHeader({}), attrs: creationAttrs(spec.peer) }
      return kindData(netkitData, { peer, mode, policy, peerPolicy })
    }
    case 'vxlan':
      return kindData(vxlanAttrs, vxlanToWire(spec))
    case 'bridge':
      return kindData(bridgeAttrs, spec)
    case 'macvlan':
      return kindData(macvlanAttrs, spec)
    case 'vlan':
      return kindData(vlanAttrs, spec)
    case 'bond':
      return kindData(bondAttrs, spec)
    case 'vrf':
      return kindData(vrfAttrs, spec)
    case 'ifb':
    case 'dummy':
      return new Uint8Array()
  }
}

function changeInfo({ vxlan, bridge, macvlan }: LinkChange): LinkAttrs['info'] {
  if (vxlan) return { kind: 'vxlan', data: kindData(vxlanAttrs, vxlanToWire(vxlan)) }
  if (bridge) return { kind: 'bridge', data: kindData(bridgeAttrs, bridge) }
  if (macvlan) return { kind: 'macvlan', data: kindData(macvlanAttrs, macvlan) }
  return undefined
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
