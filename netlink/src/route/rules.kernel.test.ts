// Routing rules on a real kernel: every selector, other people's rules, and what they do to a lookup.
import { describe, expect, test } from 'vitest'
import {
  inside,
  ipJson,
  skipReason,
  testNamespace,
  testNetlink,
  upVeth,
} from '../../testing/namespace.ts'

const OURS = 91

describe.skipIf(skipReason)('rules', () => {
  test('the three of a new namespace, per family', async () => {
    const netlink = testNetlink(testNamespace())
    expect(await netlink.rules.list({ family: 4 })).toMatchObject([
      { priority: 0, action: 'lookup', table: 255, isInverted: false },
      { priority: 32766, table: 254 },
      { priority: 32767, table: 253 },
    ])
    expect((await netlink.rules.list()).map(({ family }) => family)).toEqual([4, 4, 4, 6, 6])
  })

  test('say what ip says of them, and go by what was listed', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const specs = [
      {
        src: '10.244.0.0/16',
        dst: '10.96.0.0/12',
        inputName: 'lo',
        mark: 0x20,
        markMask: 0xf0,
        priority: 91,
        table: 1000,
        protocol: OURS,
        suppressPrefixLen: 0,
        isInverted: true,
      },
      {
        src: 'fd00::/64',
        priority: 92,
        goto: 32766,
        protocol: OURS,
        ipProtocol: 6,
        destinationPorts: { low: 80, high: 90 },
        uids: { low: 1000, high: 2000 },
      },
      { family: 4, priority: 93, action: 'prohibit', outputName: 'eth9', protocol: OURS },
    ] as const
    for (const spec of specs) await netlink.rules.add(spec)
    const listed = await netlink.rules.list({ protocol: OURS })
    expect(listed).toMatchObject([specs[0], specs[2], { ...specs[1], action: 'goto', family: 6 }])
    expect(ipJson(netns, '-N', 'rule', 'show', 'priority', '91')).toMatchObject([
      {
        not: null,
        src: '10.244.0.0',
        srclen: 16,
        dst: '10.96.0.0',
        dstlen: 12,
        iif: 'lo',
        fwmark: '0x20',
        fwmask: '0xf0',
        table: '1000',
        suppress_prefixlen: 0,
        protocol: '91',
      },
    ])
    expect(ipJson(netns, '-6', 'rule', 'show', 'priority', '92')).toMatchObject([
      { src: 'fd00::', srclen: 64, ipproto: 'tcp', goto: 32766, uid_start: 1000, uid_end: 2000 },
    ])
    for (const rule of listed) {
      expect(await netlink.rules.del(rule)).toBe(true)
      expect(await netlink.rules.del(rule)).toBe(false)
    }
    expect(await netlink.rules.list({ protocol: OURS })).toEqual([])
    expect(await netlink.rules.list()).toHaveLength(5)
  })

  test('add() is EEXIST for the same rule, replace() leaves one', async () => {
    const netlink = testNetlink(testNamespace())
    const rule = { src: '10.0.0.0/8', priority: 91, table: 7, protocol: OURS }
    await netlink.rules.replace(rule)
    await netlink.rules.replace(rule)
    await expect(netlink.rules.add(rule)).rejects.toMatchObject({
      code: 'EEXIST',
      op: 'RTM_NEWRULE',
    })
    expect(await netlink.rules.list({ priority: 91 })).toHaveLength(1)
    // Another table is another rule, which the first is asked before.
    await netlink.rules.add({ ...rule, table: 8 })
    expect((await netlink.rules.list({ priority: 91 })).map(({ table }) => table)).toEqual([7, 8])
  })

  test('foreign rules survive a deletion by protocol', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    inside(netns, 'ip', 'rule', 'add', 'from', '10.0.0.0/8', 'table', '7', 'priority', '91')
    await netlink.rules.add({ src: '10.0.0.0/8', priority: 91, table: 7, protocol: OURS })
    expect(await netlink.rules.del({ family: 4, priority: 91, protocol: OURS })).toBe(true)
    expect(await netlink.rules.del({ family: 4, priority: 91, protocol: OURS })).toBe(false)
    expect(await netlink.rules.list({ table: 7 })).toHaveLength(1)
  })

  test('decide which table a lookup goes to', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    await netlink.addresses.replace({ index, address: '10.1.0.1', prefixLen: 24 })
    await netlink.routes.add({ dst: '192.0.2.0/24', via: '10.1.0.2', table: 1000 })
    await expect(netlink.routes.get('192.0.2.1')).rejects.toMatchObject({ code: 'ENETUNREACH' })
    await netlink.rules.add({ family: 4, mark: 5, priority: 91, table: 1000 })
    expect(await netlink.routes.get('192.0.2.1', { mark: 5 })).toMatchObject({ via: '10.1.0.2' })
    await netlink.rules.add({ dst: '192.0.2.0/24', priority: 90, action: 'prohibit' })
    await expect(netlink.routes.get('192.0.2.1', { mark: 5 })).rejects.toMatchObject({
      code: 'EACCES',
    })
  })

  test('what can never be right is refused before the kernel sees it', async () => {
    const { rules } = testNetlink(testNamespace())
    await expect(rules.add({ priority: 1, table: 7 })).rejects.toThrow('needs a family')
    await expect(rules.add({ family: 4, priority: 1 })).rejects.toThrow('needs a table')
    await expect(
      rules.add({ src: '10.0.0.0/8', dst: 'fd00::/8', priority: 1, table: 7 }),
    ).rejects.toThrow('two families')
  })
})
