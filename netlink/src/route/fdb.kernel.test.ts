// Forwarding entries of a bridge and of a vxlan device on a real kernel, compared with what `bridge` says of them.
import { describe, expect, test } from 'vitest'
import { inside, skipReason, testNamespace, testNetlink, upVeth } from '../../testing/namespace.ts'
import type { NetworkNamespace, RouteNetlink } from '../index.ts'

const MAC = '02:00:00:00:00:02'
const OTHER = '02:00:00:00:00:03'
const EVERYONE = '00:00:00:00:00:00'

async function indexOf(netlink: RouteNetlink, name: string): Promise<number> {
  return (await netlink.links.get({ name }))?.index ?? 0
}

function bridgeFdb(netns: NetworkNamespace, name: string): unknown[] {
  return JSON.parse(inside(netns, 'bridge', '-j', 'fdb', 'show', 'dev', name) || '[]')
}

describe.skipIf(skipReason)('fdb of a vxlan device', () => {
  async function withVxlan() {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    await netlink.links.add({ kind: 'vxlan', name: 'vx0', vni: 7, port: 4789, local: '10.0.0.1' })
    return { netns, netlink, index: await indexOf(netlink, 'vx0') }
  }

  test('replace() gives a MAC one destination, append() one more', async () => {
    const { netns, netlink, index } = await withVxlan()
    await netlink.fdb.replace({ index, mac: MAC, dst: '10.0.0.2' })
    await netlink.fdb.replace({ index, mac: MAC, dst: '10.0.0.3', port: 8472, vni: 9 })
    await netlink.fdb.append({ index, mac: EVERYONE, dst: '10.0.0.2', state: 'permanent' })
    await netlink.fdb.append({ index, mac: EVERYONE, dst: '10.0.0.3', state: 'permanent' })
    const list = await netlink.fdb.list({ index })
    expect(list).toHaveLength(3)
    expect(list).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          mac: MAC,
          dst: '10.0.0.3',
          port: 8472,
          vni: 9,
          state: 'static',
          table: 'self',
        }),
        expect.objectContaining({ mac: EVERYONE, dst: '10.0.0.2', state: 'permanent' }),
        expect.objectContaining({ mac: EVERYONE, dst: '10.0.0.3', state: 'permanent' }),
      ]),
    )
    expect(bridgeFdb(netns, 'vx0')).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ mac: MAC, dst: '10.0.0.3', port: 8472, vni: 9, state: 'static' }),
        expect.objectContaining({ mac: EVERYONE, dst: '10.0.0.3', flags: ['self'] }),
      ]),
    )
    expect(await Array.fromAsync(netlink.fdb.stream({ index }))).toHaveLength(3)
  })

  test('del() takes one destination, or the whole MAC; false when it was not there', async () => {
    const { netlink, index } = await withVxlan()
    for (const dst of ['10.0.0.2', '10.0.0.3', '10.0.0.4']) {
      await netlink.fdb.append({ index, mac: EVERYONE, dst })
    }
    expect(await netlink.fdb.del({ index, mac: EVERYONE, dst: '10.0.0.2' })).toBe(true)
    expect(await netlink.fdb.list({ index })).toHaveLength(2)
    expect(await netlink.fdb.del({ index, mac: MAC })).toBe(false)
    expect(await netlink.fdb.del({ index: 9999, mac: MAC })).toBe(false)
    for (const { dst } of await netlink.fdb.list({ index })) {
      await netlink.fdb.del({ index, mac: EVERYONE, dst })
    }
    expect(await netlink.fdb.list({ index })).toEqual([])
    expect(await netlink.fdb.list({ index: 9999 })).toEqual([])
  })

  test('IPv6 destinations, and a next hop object as one', async () => {
    const netlink = testNetlink(testNamespace())
    await netlink.links.add({ kind: 'vxlan', name: 'vx0', vni: 7, port: 4789, local: 'fd00::1' })
    const index = await indexOf(netlink, 'vx0')
    await netlink.fdb.replace({ index, mac: MAC, dst: 'FD00::2', viaIndex: 1 })
    await netlink.nexthops.add({ id: 1, via: 'fd00::3', fdb: true })
    await netlink.nexthops.add({ id: 9, group: [{ id: 1 }], fdb: true })
    await netlink.fdb.replace({ index, mac: OTHER, nextHopId: 9 })
    expect(await netlink.fdb.list({ index })).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ mac: MAC, dst: 'fd00::2', viaIndex: 1 }),
        expect.objectContaining({ mac: OTHER, nextHopId: 9 }),
      ]),
    )
  })
})

describe.skipIf(skipReason)('fdb of a bridge', () => {
  test('entries behind a port, and those of this bridge alone', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    await netlink.links.add({ kind: 'bridge', name: 'br0', isUp: true })
    const masterIndex = await indexOf(netlink, 'br0')
    const port = await upVeth(netlink)
    await netlink.links.set(port, { masterIndex })
    await upVeth(netlink, 'other')
    await netlink.fdb.replace({ index: port, mac: MAC, table: 'master', isExternal: true })
    await netlink.fdb.replace({ index: port, mac: OTHER, table: 'master', state: 'dynamic' })
    // A kernel that filters VLANs has each a second time, for the bridge's own VLAN.
    const ours = (await netlink.fdb.list({ index: port })).filter(
      ({ mac, vlan }) => mac.startsWith('02:00') && vlan === undefined,
    )
    expect(ours).toHaveLength(2)
    expect(ours).toEqual(
      expect.arrayContaining([
        // The bridge does not look at the state of what a control plane says.
        expect.objectContaining({ mac: MAC, table: 'master', masterIndex, isExternal: true }),
        expect.objectContaining({ mac: OTHER, table: 'master', state: 'dynamic' }),
      ]),
    )
    expect(bridgeFdb(netns, 'veth0')).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ mac: MAC, master: 'br0', flags: ['extern_learn'] }),
        expect.objectContaining({ mac: OTHER, master: 'br0' }),
      ]),
    )
    const ofBridge = await netlink.fdb.list({ masterIndex })
    expect(new Set(ofBridge.map(({ index }) => index))).toEqual(new Set([port, masterIndex]))
    const key = { index: port, mac: MAC, table: 'master' } as const
    expect(await netlink.fdb.del(key)).toBe(true)
    expect(await netlink.fdb.del(key)).toBe(false)
  })
})
