// XDP on real devices, native and generic: replaced under traffic without a gap, found again, taken off, nothing else touched.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { mountBpffs, type PrivateBpffs } from '../testing/bpffs.ts'
import { testObject } from '../testing/test-object.ts'
import { countsAtRest, type VethEnd, VethPair } from '../testing/veth.ts'
import { BpfLink, type XdpMode } from './link.ts'
import { BpfObject } from './object.ts'
import type { BpfProgram } from './program.ts'
import { u32, u64 } from './struct.ts'
import { TypedMap } from './typed-map.ts'
import { XdpAttachment, type XdpHook } from './xdp.ts'

const modes: readonly XdpMode[] = ['native', 'generic']

let bpffs: PrivateBpffs
let pair: VethPair
/** Two programs that differ in the row they count in; they share the map. */
let objects: BpfObject[]

beforeEach(async () => {
  bpffs = mountBpffs()
  pair = await VethPair.open()
  objects = []
  for (const row of [0, 1]) {
    const object = BpfObject.open(testObject('binding_xdp'), {
      rodata: { xdp_row: u32.encode(row) },
      pinDir: join(bpffs.path, 'maps'),
    })
    objects.push(object)
    await object.load()
  }
})
afterEach(() => {
  for (const object of objects) object.close()
  pair.close()
  bpffs.unmount()
})

function program(row: 0 | 1): BpfProgram {
  const object = objects[row]
  if (object === undefined) throw new RangeError('no such object')
  return object.program('xdp_count')
}

function seen(): [bigint, bigint] {
  const map = objects[0]?.map('xdp_seen')
  if (map === undefined) throw new RangeError('no such object')
  const rows = new TypedMap(map, u32, u64)
  return [rows.get(0) ?? 0n, rows.get(1) ?? 0n]
}

function hookOn(end: VethEnd, ifindex = end.ifindex): XdpHook {
  return { ifindex, netns: end.netns, pinPath: join(bpffs.path, `links/${ifindex}`) }
}

test.each(modes)('attach() and detach() are idempotent: %s', async (mode) => {
  const hook = hookOn(pair.right)
  expect(XdpAttachment.list(hook)).toEqual([])
  for (const row of [0, 0, 1] as const) {
    expect(await XdpAttachment.attach({ ...hook, program: program(row), mode })).toBe(mode)
    expect(XdpAttachment.list(hook)).toEqual([{ mode, programId: program(row).id }])
  }
  expect(await XdpAttachment.detach(hook)).toBe(true)
  expect(XdpAttachment.list(hook)).toEqual([])
  expect(await XdpAttachment.detach(hook)).toBe(false)
})

test.each(modes)('no packet passes unseen while programs change: %s', async (mode) => {
  const hook = hookOn(pair.right)
  await XdpAttachment.attach({ ...hook, program: program(0), mode })
  await pair.setUp()
  let replaced = 0
  {
    await using _flood = await pair.flood()
    const start = seen()
    const moved = () => seen().every((count, row) => count - (start[row] ?? 0n) > 500n)
    while (replaced < 200 || !moved()) {
      replaced++
      await XdpAttachment.attach({ ...hook, program: program(replaced % 2 === 0 ? 0 : 1), mode })
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const counted = () => seen().reduce((a, b) => a + b)
  const passed = async () => {
    const link = await pair.right.netlink.links.get({ index: pair.right.ifindex })
    return link?.statistics?.rxPackets ?? 0n
  }
  const { programs, device } = await countsAtRest(counted, passed)
  expect(programs).toBe(device)
  expect(programs).toBeGreaterThan(1000n)
})

test('auto is native where the driver can, generic where it cannot, and stays as it is', async () => {
  const veth = hookOn(pair.right)
  expect(await XdpAttachment.attach({ ...veth, program: program(0), mode: 'auto' })).toBe('native')
  // The loopback's driver knows no XDP.
  const loopback = hookOn(pair.left, 1)
  const native = XdpAttachment.attach({ ...loopback, program: program(0), mode: 'native' })
  await expect(native).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  const auto = { ...loopback, mode: 'auto' } as const
  expect(await XdpAttachment.attach({ ...auto, program: program(0) })).toBe('generic')

  await XdpAttachment.attach({ ...veth, program: program(0), mode: 'generic' })
  expect(await XdpAttachment.attach({ ...veth, program: program(1), mode: 'auto' })).toBe('generic')
  expect(XdpAttachment.list(veth)).toEqual([{ mode: 'generic', programId: program(1).id }])
})

test("somebody else's program is not replaced", async () => {
  const hook = hookOn(pair.right)
  using theirs = await BpfLink.createXdp({ ...hook, program: program(1), mode: 'native' })
  for (const mode of modes) {
    const attempt = XdpAttachment.attach({ ...hook, program: program(0), mode })
    await expect(attempt).rejects.toMatchObject({ code: expect.stringMatching(/EBUSY|EEXIST/) })
  }
  expect(XdpAttachment.list(hook)).toEqual([])
  expect(theirs.info()).toEqual({
    kind: 'xdp',
    id: expect.any(Number),
    ifindex: hook.ifindex,
    programId: program(1).id,
  })
})

test.each(modes)('a device that went takes its attachment along: %s', async (mode) => {
  const hook = hookOn(pair.right)
  await XdpAttachment.attach({ ...hook, program: program(0), mode })
  await pair.left.netlink.links.del({ index: pair.left.ifindex })
  expect(XdpAttachment.list(hook)).toEqual([])

  using next = await VethPair.open()
  const again = { ...hookOn(next.right), pinPath: hook.pinPath }
  await XdpAttachment.attach({ ...again, program: program(1), mode })
  expect(XdpAttachment.list(again)).toEqual([{ mode, programId: program(1).id }])
  expect(existsSync(`${hook.pinPath}_${mode}_new`)).toBe(false)
  expect(await XdpAttachment.detach(again)).toBe(true)
  expect(existsSync(`${hook.pinPath}_${mode}`)).toBe(false)
})

test('attach() to no device says so and leaves no pin', async () => {
  const hook = hookOn(pair.right, 9999)
  for (const mode of modes) {
    const attempt = XdpAttachment.attach({ ...hook, program: program(0), mode })
    await expect(attempt).rejects.toMatchObject({ code: expect.stringMatching(/ENODEV|EINVAL/) })
    expect(existsSync(`${hook.pinPath}_${mode}`)).toBe(false)
  }
})
