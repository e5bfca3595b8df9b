// clsact and its filters on a real kernel: put there once, replaced in one step, removed, and what others made left alone.
import { describe, expect, test } from 'vitest'
import { testProgram } from '../../testing/bpf-program.ts'
import {
  inside,
  ipJson,
  skipReason,
  testNamespace,
  testNetlink,
  upVeth,
} from '../../testing/namespace.ts'

const TC_ACT_OK = 0
const TC_ACT_SHOT = 2

describe.skipIf(skipReason)('qdiscs', () => {
  test('replace() makes clsact and leaves the one that is there with its filters', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    await netlink.qdiscs.replace({ index, kind: 'clsact' })
    const filter = { index, parent: 'ingress', priority: 1, handle: 1 } as const
    await netlink.filters.replaceBpf({ ...filter, fd: testProgram(TC_ACT_OK), name: 'keep' })
    await netlink.qdiscs.replace({ index, kind: 'clsact' })
    expect(await netlink.filters.list({ index, parent: 'ingress' })).toHaveLength(1)
    expect((await netlink.qdiscs.list({ index })).map(({ kind }) => kind)).toContain('clsact')
  })

  test('replace() is EEXIST where an ingress qdisc sits', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    inside(netns, 'tc', 'qdisc', 'add', 'dev', 'veth0', 'ingress')
    await expect(netlink.qdiscs.replace({ index, kind: 'clsact' })).rejects.toMatchObject({
      code: 'EEXIST',
    })
  })

  test('del() of what is not there is false', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    const clsact = { index, kind: 'clsact' } as const
    expect(await netlink.qdiscs.del(clsact)).toBe(false)
    await netlink.qdiscs.replace(clsact)
    expect(await netlink.qdiscs.del(clsact)).toBe(true)
    expect(await netlink.qdiscs.del(clsact)).toBe(false)
    expect(await netlink.qdiscs.del({ ...clsact, index: 9999 })).toBe(false)
  })
})

describe.skipIf(skipReason)('filters', () => {
  async function withClsact() {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    await netlink.qdiscs.replace({ index, kind: 'clsact' })
    return { netns, netlink, index }
  }

  test('replaceBpf() puts a program where tc sees it', async () => {
    const { netns, netlink, index } = await withClsact()
    const key = { index, parent: 'egress', priority: 91, handle: 0x5b } as const
    await netlink.filters.replaceBpf({ ...key, fd: testProgram(TC_ACT_OK), name: 'sb_to_pod' })
    expect(await netlink.filters.list({ index, parent: 'ingress' })).toEqual([])
    const [filter] = await netlink.filters.list({ index, parent: 'egress' })
    expect(filter).toMatchObject({
      ...key,
      kind: 'bpf',
      protocol: 3,
      chain: 0,
      bpf: {
        name: 'sb_to_pod',
        isDirectAction: true,
        programId: expect.any(Number),
        tag: expect.stringMatching(/^[0-9a-f]{16}$/),
      },
    })
    const seen = JSON.parse(inside(netns, 'tc', '-j', 'filter', 'show', 'dev', 'veth0', 'egress'))
    expect(seen).toContainEqual(
      expect.objectContaining({
        protocol: 'all',
        pref: 91,
        kind: 'bpf',
        options: expect.objectContaining({
          handle: '0x5b',
          bpf_name: 'sb_to_pod',
          'direct-action': true,
          prog: expect.objectContaining({ id: filter?.bpf?.programId }),
        }),
      }),
    )
  })

  test('replaceBpf() exchanges the program and leaves one filter', async () => {
    const { netlink, index } = await withClsact()
    const key = { index, parent: 'ingress', priority: 1, handle: 1 } as const
    await netlink.filters.replaceBpf({ ...key, fd: testProgram(TC_ACT_OK), name: 'one' })
    const [before] = await netlink.filters.list({ index, parent: 'ingress' })
    await netlink.filters.replaceBpf({ ...key, fd: testProgram(TC_ACT_SHOT), name: 'two' })
    const after = await netlink.filters.list({ index, parent: 'ingress' })
    expect(after).toMatchObject([{ ...key, bpf: { name: 'two' } }])
    expect(after[0]?.bpf?.programId).not.toBe(before?.bpf?.programId)
  })

  test('the program decides over packets: a drop on ingress and then none', async () => {
    const { netns, netlink, index } = await withClsact()
    const peer = testNamespace()
    const peerIndex = (await netlink.links.get({ name: 'veth0p' }))?.index ?? 0
    await netlink.links.set(peerIndex, { netns: peer })
    const there = testNetlink(peer)
    await there.links.set({ name: 'veth0p' }, { isUp: true })
    const far = await there.links.get({ name: 'veth0p' })
    const near = await netlink.links.get(index)
    if (!far || !near) throw new Error('the veth is not there')
    await netlink.addresses.replace({ index, address: '10.1.0.1', prefixLen: 24 })
    await there.addresses.replace({ index: far.index, address: '10.1.0.2', prefixLen: 24 })
    // Without these the second ping may have to wait for the ARP of the first.
    await netlink.neighbours.replace({ index, address: '10.1.0.2', mac: far.mac })
    await there.neighbours.replace({ index: far.index, address: '10.1.0.1', mac: near.mac })
    const ping = () => {
      try {
        inside(netns, 'ping', '-c', '1', '-W', '1', '10.1.0.2')
        return true
      } catch {
        return false
      }
    }
    const key = { index, parent: 'ingress', priority: 1, handle: 1 } as const
    await netlink.filters.replaceBpf({ ...key, fd: testProgram(TC_ACT_SHOT), name: 'drop' })
    expect(ping()).toBe(false)
    await netlink.filters.replaceBpf({ ...key, fd: testProgram(TC_ACT_OK), name: 'pass' })
    expect(ping()).toBe(true)
  })

  test('foreign filters survive: del() takes the one with this priority and handle', async () => {
    const { netns, netlink, index } = await withClsact()
    inside(
      netns,
      ...'tc filter add dev veth0 ingress prio 1 handle 7 protocol all bpf da bytecode'.split(' '),
      '1,6 0 0 0',
    )
    const key = { index, parent: 'ingress', priority: 2, handle: 1 } as const
    await netlink.filters.replaceBpf({ ...key, fd: testProgram(TC_ACT_OK), name: 'ours' })
    const before = await netlink.filters.list({ index, parent: 'ingress' })
    expect(before.map(({ priority, kind }) => [priority, kind])).toEqual([
      [1, 'bpf'],
      [2, 'bpf'],
    ])
    expect(await netlink.filters.del(key)).toBe(true)
    expect(await netlink.filters.del(key)).toBe(false)
    expect(await netlink.filters.list({ index, parent: 'ingress' })).toEqual([before[0]])
  })

  test('without clsact: replaceBpf() is EINVAL, list() empty, del() false', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    const key = { index, parent: 'ingress', priority: 1, handle: 1 } as const
    await expect(
      netlink.filters.replaceBpf({ ...key, fd: testProgram(TC_ACT_OK), name: 'x' }),
    ).rejects.toMatchObject({ code: 'EINVAL', extAck: { message: expect.any(String) } })
    expect(await netlink.filters.list({ index, parent: 'ingress' })).toEqual([])
    expect(await netlink.filters.del(key)).toBe(false)
    expect(await netlink.filters.del({ ...key, index: 9999 })).toBe(false)
    expect(await netlink.filters.list({ index: 9999, parent: 'ingress' })).toEqual([])
    expect(ipJson(netns, 'link', 'show', 'dev', 'veth0')).toHaveLength(1)
  })
})
