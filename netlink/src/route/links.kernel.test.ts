// Devices made, changed, listed and removed on a real kernel, and seen by iproute2 as we mean them.
import { describe, expect, test } from 'vitest'
import {
  inside,
  ipJson,
  skipReason,
  testNamespace,
  testNetlink,
  upVeth,
} from '../../testing/namespace.ts'
import { isCode } from '../error.ts'

describe.skipIf(skipReason)('links', () => {
  test('a veth has its other end born in another namespace, with all that was asked for', async () => {
    const host = testNamespace()
    const pod = testNamespace()
    const netlink = testNetlink(host)
    await netlink.links.add({
      kind: 'veth',
      name: 'host0',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      isUp: true,
      group: 7,
      txQueues: 2,
      rxQueues: 1,
      txQueueLen: 500,
      alias: 'sinabro:pod',
      addrGenMode: 'none',
      peer: {
        name: 'eth0',
        netns: pod,
        mac: '02:00:00:00:00:02',
        mtu: 1400,
        isUp: true,
        rxQueues: 1,
      },
    })
    // What the link is said to be follows its carrier a moment later.
    await expect
      .poll(async () => (await netlink.links.get({ name: 'host0' }))?.operState)
      .toBe('up')
    const link = await netlink.links.get({ name: 'host0' })
    expect(link).toMatchObject({
      kind: 'veth',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      isUp: true,
      hasCarrier: true,
      operState: 'up',
      group: 7,
      txQueues: 2,
      rxQueues: 1,
      txQueueLen: 500,
      alias: 'sinabro:pod',
      addrGenMode: 'none',
      peerNetnsId: expect.any(Number),
    })
    const peer = await testNetlink(pod).links.get({ name: 'eth0' })
    expect(peer).toMatchObject({ mac: '02:00:00:00:00:02', mtu: 1400, isUp: true, rxQueues: 1 })
    expect(link?.peerIndex).toBe(peer?.index)
    expect(ipJson(host, '-d', 'link', 'show', 'dev', 'host0')).toMatchObject([
      {
        address: '02:00:00:00:00:01',
        mtu: 1400,
        group: '7',
        txqlen: 500,
        ifalias: 'sinabro:pod',
        inet6_addr_gen_mode: 'none',
        linkinfo: { info_kind: 'veth' },
      },
    ])
    // Up without a link-local address: the mode was set before the device went up.
    expect(await netlink.addresses.list({ index: link?.index, family: 6 })).toEqual([])
  })

  test('a netkit pair is born with both ends held back, its other end in another namespace', async (ctx) => {
    const pod = testNamespace()
    const netlink = testNetlink(testNamespace())
    const adding = netlink.links.add({
      kind: 'netkit',
      name: 'host0',
      mac: '06:00:00:00:00:01',
      alias: 'sinabro:pod',
      addrGenMode: 'none',
      mode: 'l2',
      policy: 'blackhole',
      peerPolicy: 'blackhole',
      peer: { name: 'eth0', netns: pod, mac: '02:00:00:00:00:01', mtu: 1400 },
    })
    await adding.catch((error: unknown) => {
      ctx.skip(isCode(error, 'EOPNOTSUPP'), 'this kernel has no netkit')
      throw error
    })
    const policies = { mode: 'l2', policy: 'blackhole', peerPolicy: 'blackhole' }
    const host = await netlink.links.get({ name: 'host0' })
    expect(host).toMatchObject({
      ...{ kind: 'netkit', alias: 'sinabro:pod', mac: '06:00:00:00:00:01', isUp: false },
      ...{ addrGenMode: 'none', netkit: { ...policies, isPrimary: true } },
    })
    expect(await testNetlink(pod).links.get({ name: 'eth0' })).toMatchObject({
      ...{ index: host?.peerIndex, peerIndex: host?.index, mac: '02:00:00:00:00:01', mtu: 1400 },
      netkit: { ...policies, isPrimary: false },
    })
  })

  test('a device with alias is born in another namespace than the socket', async () => {
    const here = testNamespace()
    const there = testNamespace()
    const netlink = testNetlink(here)
    await netlink.links.add({ kind: 'bridge', name: 'br0', netns: there, alias: 'far', isUp: true })
    expect(await netlink.links.get({ name: 'br0' })).toBeUndefined()
    expect(await testNetlink(there).links.get({ name: 'br0' })).toMatchObject({
      alias: 'far',
      isUp: true,
    })
  })

  test('a creation that fails half way leaves nothing', async () => {
    const netlink = testNetlink(testNamespace())
    const adding = netlink.links.add({
      kind: 'veth',
      name: 'host0',
      alias: 'x',
      peer: { name: 'eth0', isUp: true },
      addrGenMode: 'stable-privacy', // EINVAL without a secret
    })
    await expect(adding).rejects.toMatchObject({ code: 'EINVAL' })
    expect((await netlink.links.list()).map(({ name }) => name)).toEqual(['lo'])
  })

  test('vxlan with collected metadata, and one with a fixed peer', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    await netlink.links.add({
      kind: 'vxlan',
      name: 'vx0',
      collectMetadata: true,
      port: 8472,
      learning: false,
      udp6ZeroChecksumTx: true,
      udp6ZeroChecksumRx: true,
      mtu: 1450,
      isUp: true,
    })
    await netlink.links.add({
      kind: 'vxlan',
      name: 'vx1',
      vni: 42,
      port: 4789,
      local: 'fd00::1',
      remote: 'fd00::2',
      ttl: 64,
      sourcePorts: { low: 1000, high: 2000 },
    })
    const [collecting, fixed] = await netlink.links.list({ kind: 'vxlan' })
    expect(collecting).toMatchObject({
      name: 'vx0',
      mtu: 1450,
      vxlan: {
        collectMetadata: true,
        port: 8472,
        learning: false,
        udp6ZeroChecksumTx: true,
        udp6ZeroChecksumRx: true,
      },
    })
    expect(fixed?.vxlan).toMatchObject({
      vni: 42,
      local: 'fd00::1',
      remote: 'fd00::2',
      ttl: 64,
      sourcePorts: { low: 1000, high: 2000 },
    })
    const [seen] = ipJson(netns, '-d', 'link', 'show', 'dev', 'vx0')
    expect(seen).toMatchObject({
      linkinfo: { info_data: { external: true, port: 8472, learning: false } },
    })
    expect(ipJson(netns, '-d', 'link', 'show', 'dev', 'vx1')).toMatchObject([
      { linkinfo: { info_data: { id: 42, local6: 'fd00::1', remote6: 'fd00::2', ttl: 64 } } },
    ])
  })

  test('a bridge takes ports and lets them go; listeners of one are found by their master', async () => {
    const netlink = testNetlink(testNamespace())
    await netlink.links.add({
      kind: 'bridge',
      name: 'br0',
      multicastSnooping: false,
      forwardDelayCs: 300,
    })
    const bridge = await netlink.links.get({ name: 'br0' })
    expect(bridge?.bridge).toMatchObject({
      multicastSnooping: false,
      forwardDelayCs: 300,
      stpState: 0,
    })
    const port = await upVeth(netlink)
    await netlink.links.set(port, { masterIndex: bridge?.index })
    expect(await netlink.links.list({ masterIndex: bridge?.index })).toMatchObject([
      { index: port },
    ])
    await netlink.links.set(port, { masterIndex: null })
    expect(await netlink.links.list({ masterIndex: bridge?.index })).toEqual([])
    await netlink.links.set({ name: 'br0' }, { bridge: { stpState: 1 } })
    expect((await netlink.links.get({ name: 'br0' }))?.bridge?.stpState).toBe(1)
  })

  test('set() changes what is given and clears what is null', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    await netlink.links.set(index, { alias: 'one', mtu: 1300, isPromiscuous: true, group: 3 })
    expect(await netlink.links.get(index)).toMatchObject({
      alias: 'one',
      mtu: 1300,
      isUp: true,
      group: 3,
    })
    // Before Linux 6.2 a device that is up keeps its name.
    await netlink.links.set(index, { isUp: false })
    await netlink.links.set(index, { name: 'renamed', alias: null })
    const link = await netlink.links.get({ index })
    expect(link).toMatchObject({ name: 'renamed', mtu: 1300, isUp: false })
    expect(link).not.toHaveProperty('alias')
    const other = testNamespace()
    await netlink.links.set(index, { netns: other })
    expect(await netlink.links.get(index)).toBeUndefined()
    expect(await testNetlink(other).links.get({ name: 'renamed' })).toMatchObject({ kind: 'veth' })
  })

  test('list() says of every device what ip says', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    // Down: the state of one that comes up changes a moment later, and maybe between our list and theirs.
    await netlink.links.add({ kind: 'veth', name: 'veth0', peer: { name: 'veth0p' } })
    await netlink.links.add({ kind: 'bridge', name: 'br0' })
    inside(
      netns,
      'ip',
      'link',
      'property',
      'add',
      'dev',
      'br0',
      'altname',
      'a-second-name-over-15-bytes',
    )
    const ours = await netlink.links.list()
    const theirs = ipJson(netns, '-d', 'link', 'show')
    expect(
      ours.map((link) => ({
        ifindex: link.index,
        ifname: link.name,
        mtu: link.mtu,
        address: link.mac,
        operstate: String(link.operState).toUpperCase(),
        kind: link.kind,
        altnames: link.altNames,
      })),
    ).toEqual(
      theirs.map((link) => ({
        ifindex: link.ifindex,
        ifname: link.ifname,
        mtu: link.mtu,
        address: link.address,
        operstate: link.operstate,
        kind: (link.linkinfo as { info_kind?: string } | undefined)?.info_kind,
        altnames: link.altnames ?? [],
      })),
    )
  })

  test('an answer larger than the first buffer is asked for again', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    await netlink.links.add({ kind: 'bridge', name: 'br0' })
    const names = Array.from({ length: 40 }, (_, at) => `${'n'.repeat(120)}${at}`)
    // ip has room for seven at once, and leaves out what is more.
    for (let from = 0; from < names.length; from += 5) {
      const words = names.slice(from, from + 5).flatMap((name) => ['altname', name])
      inside(netns, 'ip', 'link', 'property', 'add', 'dev', 'br0', ...words)
    }
    expect((await netlink.links.get({ name: 'br0' }))?.altNames).toEqual(names)
  })

  test('counters are those of ip', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    await netlink.links.set({ name: 'lo' }, { isUp: true })
    inside(netns, 'ping', '-c', '1', '127.0.0.1')
    const { rxBytes, rxPackets, txBytes } =
      (await netlink.links.get({ name: 'lo' }))?.statistics ?? {}
    expect(rxBytes).toBeGreaterThan(0n)
    expect(ipJson(netns, '-s', 'link', 'show', 'dev', 'lo')).toMatchObject([
      {
        stats64: {
          rx: { bytes: Number(rxBytes), packets: Number(rxPackets) },
          tx: { bytes: Number(txBytes) },
        },
      },
    ])
  })

  test('a device of a kind not described here is listed with its options as bytes', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    await upVeth(netlink)
    inside(
      netns,
      'ip',
      'link',
      'add',
      'link',
      'veth0',
      'name',
      'mvt0',
      'type',
      'macvtap',
      'mode',
      'bridge',
    )
    expect(await netlink.links.get({ name: 'mvt0' })).toMatchObject({
      kind: 'macvtap',
      kindData: expect.any(Uint8Array),
    })
  })

  test('del() resolves when device, peer, address and route are gone, and holds up nobody meanwhile', async () => {
    const host = testNamespace()
    const netlink = testNetlink(host)
    const names = Array.from({ length: 8 }, (_, i) => `gone${i}`)
    const indexes: number[] = []
    for (const [i, name] of names.entries()) {
      await netlink.links.add({ kind: 'veth', name, isUp: true, peer: { name: `${name}p` } })
      const index = (await netlink.links.get({ name }))?.index ?? 0
      indexes.push(index)
      await netlink.addresses.replace({ index, address: `192.0.2.${i}`, prefixLen: 32 })
    }
    const removals = names.map(async (name, i) => {
      expect(await netlink.links.del({ name })).toBe(true)
      expect(await netlink.links.get({ name })).toBeUndefined()
      expect(await netlink.links.get({ name: `${name}p` })).toBeUndefined()
      expect(await netlink.addresses.list({ index: indexes[i] ?? 0 }).catch(() => [])).toEqual([])
      // The name is free at once.
      await netlink.links.add({ kind: 'veth', name, peer: { name: `${name}p` } })
    })
    // The main socket answers while the removals are under way.
    expect(await netlink.links.get({ name: 'lo' })).toBeDefined()
    await Promise.all(removals)
    expect((await netlink.links.list({ kind: 'veth' })).length).toBe(2 * names.length)
  })

  test('del() rejects when it may not, over the socket of its own too', async () => {
    const netlink = testNetlink(testNamespace())
    await expect(netlink.links.del({ name: 'lo' })).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  })

  test('del() of what is not there is false, get() is undefined', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    expect(await netlink.links.del(index)).toBe(true)
    expect(await netlink.links.del(index)).toBe(false)
    expect(await netlink.links.del({ name: 'veth0p' })).toBe(false)
    expect(await netlink.links.get(index)).toBeUndefined()
    expect(await netlink.links.get({ name: 'veth0' })).toBeUndefined()
  })

  test('errors carry the code, the operation, the object and the words of the kernel', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    await expect(netlink.links.set(index, { mtu: 1 })).rejects.toMatchObject({
      code: 'EINVAL',
      op: 'RTM_NEWLINK',
      errno: 22,
      extAck: { message: 'mtu less than device minimum' },
      message: `RTM_NEWLINK link #${index}: EINVAL: mtu less than device minimum`,
    })
    await expect(netlink.links.add({ kind: 'bridge', name: 'veth0' })).rejects.toMatchObject({
      code: 'EEXIST',
    })
    await expect(netlink.links.set(9999, { mtu: 1400 })).rejects.toMatchObject({ code: 'ENODEV' })
  })

  test('values that cannot be right are refused before the kernel sees them', async () => {
    const netlink = testNetlink(testNamespace())
    await expect(netlink.links.add({ kind: 'bridge', name: 'sixteen-letters!' })).rejects.toThrow(
      RangeError,
    )
    await expect(netlink.links.set(0, { mtu: 1400 })).rejects.toThrow(RangeError)
    await expect(netlink.links.set(1, { mac: '02:00' })).rejects.toThrow('MAC address')
  })
})
