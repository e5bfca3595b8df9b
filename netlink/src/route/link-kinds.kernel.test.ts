// Kinds of devices that many kernels have and some do not: made, listed, and seen by iproute2 as we mean them.
import { describe, expect, type TestContext, test } from 'vitest'
import {
  inside,
  ipJson,
  skipReason,
  testNamespace,
  testNetlink,
  upVeth,
} from '../../testing/namespace.ts'
import { isCode } from '../error.ts'
import type { NetworkNamespace } from '../namespace.ts'
import type { Link, LinkSpec } from './link.ts'
import type { RouteNetlink } from './route-netlink.ts'

/** Skips where the kernel was built without that kind. */
async function addOrSkip(
  { skip }: TestContext,
  netlink: RouteNetlink,
  spec: LinkSpec,
): Promise<Link> {
  try {
    await netlink.links.add(spec)
  } catch (error) {
    if (isCode(error, 'EOPNOTSUPP')) skip(`this kernel has no ${spec.kind}`)
    throw error
  }
  const link = await netlink.links.get({ name: spec.name })
  if (link === undefined) throw new Error(`${spec.name} is not there after it was added`)
  return link
}

function seenByIp(netns: NetworkNamespace, name: string): unknown {
  return ipJson(netns, '-d', 'link', 'show', 'dev', name)[0]?.linkinfo
}

describe.skipIf(skipReason)('kinds that not every kernel has', () => {
  test('vlan', async (context) => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const lowerIndex = await upVeth(netlink)
    const spec = { kind: 'vlan', name: 'veth0.7', id: 7, lowerIndex, isUp: true } as const
    const link = await addOrSkip(context, netlink, spec)
    expect(link).toMatchObject({ peerIndex: lowerIndex, vlan: { id: 7, protocol: '802.1q' } })
    expect(seenByIp(netns, 'veth0.7')).toMatchObject({
      info_kind: 'vlan',
      info_data: { protocol: '802.1Q', id: 7 },
    })
    const outer = { ...spec, name: 'veth0.8', id: 8, protocol: '802.1ad' } as const
    expect((await addOrSkip(context, netlink, outer)).vlan?.protocol).toBe('802.1ad')
    await expect(netlink.links.add({ ...spec, name: 'again' })).rejects.toMatchObject({
      code: 'EEXIST',
    })
  })

  test('bond, with a port', async (context) => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const bond = { mode: 'active-backup', miimonMs: 50 } as const
    const { index } = await addOrSkip(context, netlink, { kind: 'bond', name: 'bond0', ...bond })
    const port = await upVeth(netlink)
    await netlink.links.set(port, { isUp: false })
    await netlink.links.set(port, { masterIndex: index })
    await netlink.links.set(index, { isUp: true })
    expect(await netlink.links.get(port)).toMatchObject({ masterIndex: index, isUp: true })
    await expect
      .poll(() => netlink.links.get(index))
      .toMatchObject({
        isUp: true,
        hasCarrier: true,
        bond: { ...bond, activePort: port },
      })
    expect(seenByIp(netns, 'bond0')).toMatchObject({
      info_kind: 'bond',
      info_data: { mode: 'active-backup', miimon: 50, active_slave: 'veth0' },
    })
  })

  test('vrf: a device in it has its routes in its table', async (context) => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const spec = { kind: 'vrf', name: 'blue', table: 77, isUp: true } as const
    const { index, vrf } = await addOrSkip(context, netlink, spec)
    expect(vrf?.table).toBe(77)
    const port = await upVeth(netlink)
    await netlink.links.set(port, { masterIndex: index })
    await netlink.addresses.replace({ index: port, address: '192.0.2.1', prefixLen: 24 })
    const routes = ipJson(netns, 'route', 'show', 'table', '77')
    expect(routes.map(({ dst }) => dst)).toContain('192.0.2.0/24')
    expect(seenByIp(netns, 'blue')).toMatchObject({ info_kind: 'vrf', info_data: { table: 77 } })
  })

  test('dummy', async (context) => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const spec = { kind: 'dummy', name: 'kube-ipvs0', mtu: 9000, isUp: true } as const
    expect(await addOrSkip(context, netlink, spec)).toMatchObject({ kind: 'dummy', mtu: 9000 })
    expect(seenByIp(netns, 'kube-ipvs0')).toMatchObject({ info_kind: 'dummy' })
  })

  for (const kind of ['wireguard', 'ipvlan', 'netkit']) {
    test(`${kind}, made by ip, is listed`, async ({ skip }) => {
      const netns = testNamespace()
      const netlink = testNetlink(netns)
      await upVeth(netlink)
      const lower = kind === 'ipvlan' ? ['link', 'veth0'] : []
      try {
        inside(netns, 'ip', 'link', 'add', ...lower, 'name', 'x0', 'type', kind)
      } catch {
        skip(`this kernel has no ${kind}`)
      }
      const link = await netlink.links.get({ name: 'x0' })
      expect(link?.kind).toBe(kind)
      if (kind === 'netkit') expect(link?.netkit).toBeDefined()
      if (kind === 'ipvlan') expect(link?.kindData).toBeInstanceOf(Uint8Array)
    })
  }
})
