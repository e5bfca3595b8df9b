// Generic netlink on a real kernel: families found by name, questions to three of them, and what they tell their groups.
import { describe, expect, onTestFinished, test } from 'vitest'
import { inside, skipReason, testNamespace, testNetlink, upVeth } from '../../testing/namespace.ts'
import {
  attrs,
  GenericMonitor,
  GenericNetlink,
  isCode,
  type NetworkNamespace,
  text,
  u8,
  u32,
  u64,
} from '../index.ts'

function testGeneric(netns: NetworkNamespace): GenericNetlink {
  const generic = GenericNetlink.open({ netns })
  onTestFinished(() => generic.close())
  return generic
}

/** ETHTOOL_A_HEADER_*. */
const header = attrs('ethtool-header', { index: [1, u32], name: [2, text(15)] })
/** ETHTOOL_A_LINKSTATE_*. */
const linkState = attrs('ethtool-linkstate', { header: [1, header], link: [2, u8] })
/** ETHTOOL_A_CHANNELS_*. */
const channels = attrs('ethtool-channels', { header: [1, header], rx: [6, u32], tx: [7, u32] })
/** NETDEV_A_DEV_*. */
const device = attrs('netdev-dev', { index: [1, u32], xdpFeatures: [3, u64] })

const linkStateGet = {
  family: 'ethtool',
  command: 6,
  op: 'ETHTOOL_MSG_LINKSTATE_GET',
  codec: linkState,
}

describe.skipIf(skipReason)('families', () => {
  test('are those that genl lists', async () => {
    const netns = testNamespace()
    const families = await testGeneric(netns).families()
    const names = inside(netns, 'genl', 'ctrl', 'list').matchAll(
      /^Name: (\S+)\n\s+ID: (0x[0-9a-f]+)/gm,
    )
    expect(families.map(({ name, id }) => [name, id])).toEqual(
      Array.from(names, ([, name, id]) => [name, Number(id)]),
    )
    expect(families.find(({ name }) => name === 'nlctrl')).toMatchObject({
      id: 0x10,
      version: 2,
      groups: [{ name: 'notify' }],
    })
  })

  test('family() finds one by name; what is not there is ENOENT', async () => {
    const generic = testGeneric(testNamespace())
    const family = await generic.family('ethtool')
    expect(family.groups.map(({ name }) => name)).toEqual(['monitor'])
    expect(await generic.family('ethtool')).toBe(family)
    await expect(generic.family('no-such')).rejects.toMatchObject({
      code: 'ENOENT',
      op: 'CTRL_CMD_GETFAMILY',
      message: expect.stringContaining('family no-such'),
    })
  })
})

const NO_NETDEV = 'the netdev family came with Linux 6.3'

async function hasNetdev(): Promise<boolean> {
  const generic = GenericNetlink.open()
  try {
    await generic.family('netdev')
    return true
  } catch (error) {
    if (isCode(error, 'ENOENT')) return false
    throw error
  } finally {
    generic.close()
  }
}

describe.skipIf(skipReason)('requests', () => {
  test('ethtool: the carrier of a device, and of all', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    const generic = testGeneric(netns)
    const value = { header: { name: 'veth0' } }
    const answer = await generic.reply({ ...linkStateGet, value }, linkState)
    expect(answer).toMatchObject({ header: { index, name: 'veth0' }, link: 1 })
    await netlink.links.set({ name: 'veth0p' }, { isUp: false })
    expect(await generic.reply({ ...linkStateGet, value }, linkState)).toMatchObject({ link: 0 })
    const list = await generic.dump({ ...linkStateGet, value: { header: {} } }, linkState)
    const links = await netlink.links.list()
    expect(list.map((one) => [one.header?.name, one.link])).toEqual(
      links.map(({ name, isUp, hasCarrier }) => [name, isUp && hasCarrier ? 1 : 0]),
    )
  })

  test('netdev: devices one by one', async ({ skip }) => {
    skip(!(await hasNetdev()), NO_NETDEV)
    const netns = testNamespace()
    const index = await upVeth(testNetlink(netns))
    const generic = testGeneric(netns)
    const get = { family: 'netdev', command: 1, op: 'NETDEV_CMD_DEV_GET', codec: device, value: {} }
    const devices = await Array.fromAsync(generic.stream(get, device))
    expect(devices.map((one) => one.index)).toContain(index)
    expect(devices.every((one) => typeof one.xdpFeatures === 'bigint')).toBe(true)
  })

  test('errors have the words of the kernel and the name of the command', async () => {
    const generic = testGeneric(testNamespace())
    const value = { header: { name: 'gone0' } }
    await expect(generic.reply({ ...linkStateGet, value }, linkState)).rejects.toMatchObject({
      code: 'ENODEV',
      op: 'ETHTOOL_MSG_LINKSTATE_GET',
      extAck: { message: 'no device matches name' },
    })
    const command = { ...linkStateGet, command: 250, op: 'no such command', value }
    await expect(generic.change(command)).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  })
})

describe.skipIf(skipReason)('GenericMonitor', () => {
  test('ethtool tells of a change', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    await netlink.links.add({
      kind: 'veth',
      name: 'veth0',
      txQueues: 2,
      rxQueues: 2,
      peer: { name: 'veth0p', txQueues: 2, rxQueues: 2 },
    })
    const generic = testGeneric(netns)
    const told = new Promise((resolve) => {
      const opening = GenericMonitor.open({
        netns,
        family: 'ethtool',
        groups: ['monitor'],
        decode: (command, payload) => ({ command, ...channels.decode(payload) }),
        onEvent: resolve,
        onOverrun: () => resolve('overrun'),
      })
      onTestFinished(async () => (await opening).close())
      void opening.then(() =>
        generic.change({
          family: 'ethtool',
          command: 18,
          op: 'ETHTOOL_MSG_CHANNELS_SET',
          codec: channels,
          value: { header: { name: 'veth0' }, rx: 1, tx: 1 },
        }),
      )
    })
    // ETHTOOL_MSG_CHANNELS_NTF
    expect(await told).toMatchObject({ command: 19, header: { name: 'veth0' }, rx: 1, tx: 1 })
  })

  test('netdev tells of a new device', async ({ skip }) => {
    skip(!(await hasNetdev()), NO_NETDEV)
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const events: { command: number; index?: number | undefined }[] = []
    let check: () => void = () => undefined
    const monitor = await GenericMonitor.open({
      netns,
      family: 'netdev',
      groups: ['mgmt'],
      decode: (command, payload) => ({ command, index: device.decode(payload).index }),
      onEvent(event) {
        events.push(event)
        check()
      },
      onOverrun: () => undefined,
    })
    onTestFinished(() => monitor.close())
    const index = await upVeth(netlink)
    await new Promise<void>((resolve) => {
      check = () => events.some((event) => event.index === index) && resolve()
      check()
    })
    // NETDEV_CMD_DEV_ADD_NTF
    expect(events.find((event) => event.index === index)?.command).toBe(2)
  })

  test('a group that is not there is EINVAL and names those that are', async ({ skip }) => {
    skip(!(await hasNetdev()), NO_NETDEV)
    const opening = GenericMonitor.open({
      netns: testNamespace(),
      family: 'netdev',
      groups: ['nonsense'],
      decode: () => undefined,
      onEvent: () => undefined,
      onOverrun: () => undefined,
    })
    await expect(opening).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('mgmt, page-pool'),
    })
  })
})
