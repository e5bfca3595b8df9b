// Rates on a real kernel: what tc says of them, what they do to packets, and the detour over an ifb for the way in.
import { describe, expect, test } from 'vitest'
import { inside, skipReason, testNamespace, testNetlink, upVeth } from '../../testing/namespace.ts'
import { formatHandle, type NetworkNamespace, parseHandle, type RouteNetlink } from '../index.ts'

const root = parseHandle('1:')
const leaf = parseHandle('1:10')

function tcJson(netns: NetworkNamespace, ...args: readonly string[]): Record<string, unknown>[] {
  return JSON.parse(inside(netns, 'tc', '-j', ...args) || '[]')
}

async function device(name = 'veth0') {
  const netns = testNamespace()
  const netlink = testNetlink(netns)
  return { netns, netlink, index: await upVeth(netlink, name) }
}

async function kinds(netlink: RouteNetlink, index: number): Promise<string[]> {
  return (await netlink.qdiscs.list({ index })).map(({ kind }) => kind)
}

test('handles are two hexadecimal halves', () => {
  expect(parseHandle('1:')).toBe(0x1_0000)
  expect(parseHandle('ffff:Fff1')).toBe(0xffff_fff1)
  expect(formatHandle(0xffff_fff1)).toBe('ffff:fff1')
  expect(formatHandle(0x1_0000)).toBe('1:')
  for (const bad of ['1', ':1', '1:2:3', '10000:1', 'g:', '']) {
    expect(() => parseHandle(bad), bad).toThrow('not MAJOR:MINOR')
  }
})

describe.skipIf(skipReason)('tbf', () => {
  test('is what tc says of it, and takes on new numbers in place', async () => {
    const { netns, netlink, index } = await device()
    const tbf = { index, kind: 'tbf', handle: root, burstBytes: 65_536 } as const
    await netlink.qdiscs.replace({ ...tbf, rateBitsPerSec: 80e6, latencyMs: 25 })
    expect((await netlink.qdiscs.list({ index }))[0]).toMatchObject({
      kind: 'tbf',
      handle: root,
      tbf: { rateBitsPerSec: 80e6, burstBytes: 65_536, limitBytes: 250_000 + 65_536 },
      statistics: { drops: 0 },
    })
    expect(tcJson(netns, 'qdisc', 'show', 'dev', 'veth0')).toMatchObject([
      {
        kind: 'tbf',
        handle: '1:',
        root: true,
        options: { rate: 10e6, lat: 25_000 },
      },
    ])
    await netlink.qdiscs.replace({ ...tbf, rateBitsPerSec: 40e9, limitBytes: 1e6 })
    expect((await netlink.qdiscs.list({ index }))[0]?.tbf).toMatchObject({
      rateBitsPerSec: 40e9,
      limitBytes: 1e6,
    })
    expect(tcJson(netns, 'qdisc', 'show', 'dev', 'veth0')).toMatchObject([
      { kind: 'tbf', options: { rate: 5e9 } },
    ])
    expect(await netlink.qdiscs.del(tbf)).toBe(true)
    expect(await netlink.qdiscs.del(tbf)).toBe(false)
    expect(await kinds(netlink, index)).toEqual(['noqueue'])
  })

  test('drops what is too much', async () => {
    const { netns, netlink, index } = await device()
    await netlink.addresses.replace({ index, address: '10.1.0.1', prefixLen: 24 })
    await netlink.neighbours.replace({ index, address: '10.1.0.2', mac: '02:00:00:00:00:02' })
    await netlink.qdiscs.replace({
      index,
      kind: 'tbf',
      rateBitsPerSec: 8000,
      burstBytes: 2000,
      limitBytes: 3000,
    })
    inside(netns, 'sh', '-c', 'ping -c 20 -i 0.001 -s 1000 -w 1 10.1.0.2 || true')
    const [qdisc] = await netlink.qdiscs.list({ index })
    expect(qdisc?.statistics?.drops).toBeGreaterThan(10)
    expect(qdisc?.statistics?.packets).toBeLessThan(5)
  })

  test('refuses what is no rate', async () => {
    const { netlink, index } = await device()
    const tbf = { index, kind: 'tbf', burstBytes: 2000 } as const
    await expect(netlink.qdiscs.replace({ ...tbf, rateBitsPerSec: 7 })).rejects.toThrow(RangeError)
    await expect(netlink.qdiscs.replace({ ...tbf, rateBitsPerSec: Number.NaN })).rejects.toThrow(
      'not a rate',
    )
  })
})

describe.skipIf(skipReason)('htb', () => {
  async function withHtb() {
    const on = await device()
    const htb = { index: on.index, kind: 'htb', handle: root, defaultClass: 0x10 } as const
    await on.netlink.qdiscs.replace(htb)
    await on.netlink.classes.replace({
      index: on.index,
      kind: 'htb',
      handle: leaf,
      parent: root,
      rateBitsPerSec: 8e6,
      ceilBitsPerSec: 16e6,
      priority: 2,
    })
    return { ...on, htb }
  }

  test('shares a rate out among classes, as tc sees them', async () => {
    const { netns, netlink, index } = await withHtb()
    expect((await netlink.qdiscs.list({ index }))[0]).toMatchObject({
      kind: 'htb',
      htb: { defaultClass: 0x10 },
    })
    const rateBitsPerSec = 40e9
    const inner = { index, kind: 'htb', handle: parseHandle('1:1'), parent: root } as const
    await netlink.classes.replace({ ...inner, rateBitsPerSec })
    await netlink.classes.replace({
      ...inner,
      handle: parseHandle('1:11'),
      parent: inner.handle,
      rateBitsPerSec: 1e6,
      burstBytes: 4000,
      quantumBytes: 2000,
    })
    expect(await netlink.classes.list({ index, parent: inner.handle })).toMatchObject([
      {
        handle: parseHandle('1:11'),
        htb: { rateBitsPerSec: 1e6, burstBytes: 4000, quantumBytes: 2000 },
      },
    ])
    const list = await netlink.classes.list({ index })
    expect(list).toHaveLength(3)
    expect(list.find(({ handle }) => handle === leaf)).toMatchObject({
      htb: { rateBitsPerSec: 8e6, ceilBitsPerSec: 16e6, priority: 2 },
    })
    // tc has no JSON of classes.
    const seen = inside(netns, 'tc', 'class', 'show', 'dev', 'veth0')
    expect(seen).toMatch(/^class htb 1:10 root prio 2 rate 8Mbit ceil 16Mbit /m)
    expect(seen).toMatch(/^class htb 1:1 root rate 40Gbit /m)
    expect(seen).toMatch(/^class htb 1:11 parent 1:1 prio 0 rate 1Mbit ceil 1Mbit burst 4000b /m)
  })

  test('replace() changes a class, leaves the qdisc, and cannot change its default', async () => {
    const { netlink, index, htb } = await withHtb()
    const [before] = await netlink.classes.list({ index })
    await netlink.qdiscs.replace(htb)
    expect(await netlink.classes.list({ index })).toEqual([before])
    await netlink.classes.replace({
      index,
      kind: 'htb',
      handle: leaf,
      parent: root,
      rateBitsPerSec: 4e6,
    })
    expect(await netlink.classes.list({ index })).toMatchObject([
      { handle: leaf, htb: { rateBitsPerSec: 4e6, ceilBitsPerSec: 4e6 } },
    ])
    await expect(netlink.qdiscs.replace({ ...htb, defaultClass: 1 })).rejects.toMatchObject({
      code: 'EINVAL',
    })
  })

  test('del() of what is not there is false', async () => {
    const { netlink, index, htb } = await withHtb()
    const key = { index, handle: leaf }
    expect(await netlink.classes.del(key)).toBe(true)
    expect(await netlink.classes.del(key)).toBe(false)
    expect(await netlink.qdiscs.del({ index, kind: 'tbf' })).toBe(false)
    expect(await netlink.qdiscs.del(htb)).toBe(true)
    expect(await netlink.classes.del({ index: 9999, handle: leaf })).toBe(false)
    expect(await netlink.classes.list({ index: 9999 })).toEqual([])
  })
})

describe.skipIf(skipReason)('ingress', () => {
  test('is put there once, and not where clsact is', async () => {
    const { netlink, index } = await device()
    const ingress = { index, kind: 'ingress' } as const
    await netlink.qdiscs.replace(ingress)
    await netlink.qdiscs.replace(ingress)
    expect(await kinds(netlink, index)).toContain('ingress')
    await expect(netlink.qdiscs.replace({ index, kind: 'clsact' })).rejects.toMatchObject({
      code: 'EEXIST',
    })
    expect(await netlink.qdiscs.del({ index, kind: 'clsact' })).toBe(false)
    expect(await netlink.qdiscs.del(ingress)).toBe(true)
    expect(await netlink.qdiscs.del(ingress)).toBe(false)
  })

  test('what comes in takes the detour over an ifb, and its queue', async () => {
    const { netns, netlink, index } = await device()
    const there = testNamespace()
    await netlink.links.set({ name: 'veth0p' }, { netns: there })
    const other = testNetlink(there)
    await other.links.set({ name: 'veth0p' }, { isUp: true })
    const peer = (await other.links.get({ name: 'veth0p' }))?.index ?? 0
    await netlink.addresses.replace({ index, address: '10.1.0.1', prefixLen: 24 })
    await other.addresses.replace({ index: peer, address: '10.1.0.2', prefixLen: 24 })
    await netlink.links.add({ kind: 'ifb', name: 'ifb0', isUp: true })
    const ifb = (await netlink.links.get({ name: 'ifb0' }))?.index ?? 0
    expect((await netlink.links.list({ kind: 'ifb' })).map(({ name }) => name)).toEqual(['ifb0'])
    await netlink.qdiscs.replace({ index, kind: 'ingress' })
    await netlink.qdiscs.replace({
      index: ifb,
      kind: 'tbf',
      rateBitsPerSec: 80e6,
      burstBytes: 65_536,
    })
    const key = { index, parent: 'ingress', priority: 1, handle: 1 } as const
    await netlink.filters.replaceRedirect({ ...key, toIndex: ifb })
    await netlink.filters.replaceRedirect({ ...key, toIndex: ifb })
    expect(await netlink.filters.list({ index, parent: 'ingress' })).toMatchObject([
      { ...key, toIndex: ifb },
    ])
    expect(tcJson(netns, 'filter', 'show', 'dev', 'veth0', 'ingress')).toContainEqual(
      expect.objectContaining({
        kind: 'bpf',
        options: expect.objectContaining({
          actions: [expect.objectContaining({ kind: 'mirred', to_dev: 'ifb0' })],
        }),
      }),
    )
    inside(netns, 'ping', '-c', '3', '-i', '0.01', '-W', '1', '10.1.0.2')
    const [queue] = await netlink.qdiscs.list({ index: ifb })
    expect(queue?.statistics?.packets).toBeGreaterThanOrEqual(3)
    expect(await netlink.filters.del(key)).toBe(true)
    expect(await netlink.filters.del(key)).toBe(false)
  })
})

describe.skipIf(skipReason)('macvlan', () => {
  test('lies on a device, is born in another namespace, changes its mode', async () => {
    const { netlink, index } = await device()
    const pod = testNamespace()
    await netlink.links.add({ kind: 'macvlan', name: 'mac0', lowerIndex: index, mode: 'bridge' })
    expect(await netlink.links.get({ name: 'mac0' })).toMatchObject({
      kind: 'macvlan',
      peerIndex: index,
      macvlan: { mode: 'bridge' },
    })
    await netlink.links.set({ name: 'mac0' }, { macvlan: { mode: 'private' } })
    expect((await netlink.links.get({ name: 'mac0' }))?.macvlan?.mode).toBe('private')
    await netlink.links.add({
      kind: 'macvlan',
      name: 'eth0',
      lowerIndex: index,
      mode: 'private',
      mac: '02:00:00:00:00:09',
      netns: pod,
    })
    const [inPod] = await testNetlink(pod).links.list({ kind: 'macvlan' })
    expect(inPod).toMatchObject({ name: 'eth0', mac: '02:00:00:00:00:09', peerIndex: index })
    expect(JSON.parse(inside(pod, 'ip', '-j', '-d', 'link', 'show', 'eth0'))).toMatchObject([
      { linkinfo: { info_kind: 'macvlan', info_data: { mode: 'private' } } },
    ])
  })
})
