// Attaching to real devices by tcx and clsact: replaced under traffic without a gap, found again, taken off, nothing else touched.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { mountBpffs, type PrivateBpffs } from '../testing/bpffs.ts'
import { testObject } from '../testing/test-object.ts'
import { countsAtRest, type VethEnd, VethPair } from '../testing/veth.ts'
import type { Direction } from './attach-type.ts'
import { BpfLink } from './link.ts'
import { BpfObject } from './object.ts'
import type { BpfProgram } from './program.ts'
import { u32, u64 } from './struct.ts'
import { TcAttachment, type TcHook, type TcMode } from './tc.ts'
import { listTcx, probeTcx } from './tcx.ts'
import { TypedMap } from './typed-map.ts'

const hasTcx = probeTcx()
const modes: readonly TcMode[] = hasTcx ? ['tcx', 'clsact'] : ['clsact']
const both = modes.flatMap((mode) =>
  (['ingress', 'egress'] as const).map((direction) => ({ mode, direction })),
)
const NO_TCX = 'this kernel has no tcx'

let bpffs: PrivateBpffs
let pair: VethPair
/** Two programs that differ in the row they count in; they share the map. */
let objects: BpfObject[]

beforeEach(async () => {
  bpffs = mountBpffs()
  pair = await VethPair.open()
  objects = []
  for (const row of [0, 1]) {
    const object = BpfObject.open(testObject('binding_tc'), {
      rodata: { tc_row: u32.encode(row) },
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
  return object.program('tc_count')
}

function seen(): [bigint, bigint] {
  const map = objects[0]?.map('tc_seen')
  if (map === undefined) throw new RangeError('no such object')
  const rows = new TypedMap(map, u32, u64)
  return [rows.get(0) ?? 0n, rows.get(1) ?? 0n]
}

function hookOn(end: VethEnd, direction: Direction): TcHook {
  return {
    ifindex: end.ifindex,
    direction,
    netlink: end.netlink,
    netns: end.netns,
    pinPath: join(bpffs.path, `links/${end.ifindex}_${direction}`),
    priority: 91,
    handle: 0x5b,
    name: 'tc_count',
  }
}

test.each(both)('attach() and detach() are idempotent: $mode $direction', async (way) => {
  const { mode, direction } = way
  const hook = hookOn(pair.right, direction)
  expect(await TcAttachment.list(hook)).toEqual([])
  for (let round = 0; round < 2; round++) {
    await TcAttachment.attach({ ...hook, program: program(0), mode })
    expect(await TcAttachment.list(hook)).toEqual([{ mode, programId: program(0).id }])
  }
  await TcAttachment.attach({ ...hook, program: program(1), mode })
  expect(await TcAttachment.list(hook)).toEqual([{ mode, programId: program(1).id }])
  expect(await TcAttachment.detach(hook)).toBe(true)
  expect(await TcAttachment.list(hook)).toEqual([])
  expect(await TcAttachment.detach(hook)).toBe(false)
})

test.each(both)('no packet passes unseen while programs change: $mode $direction', async (way) => {
  const { mode, direction } = way
  const end = direction === 'ingress' ? pair.right : pair.left
  const hook = hookOn(end, direction)
  await TcAttachment.attach({ ...hook, program: program(0), mode })
  await pair.setUp()
  let replaced = 0
  {
    await using _flood = await pair.flood()
    const start = seen()
    const moved = () => seen().every((count, row) => count - (start[row] ?? 0n) > 500n)
    while (replaced < 200 || !moved()) {
      replaced++
      await TcAttachment.attach({ ...hook, program: program(replaced % 2 === 0 ? 0 : 1), mode })
    }
  }
  // Devices count what they took in, and what they gave away or had to drop.
  const passed = async () => {
    const link = await end.netlink.links.get({ index: end.ifindex })
    const { rxPackets = 0n, txPackets = 0n, txDropped = 0n } = link?.statistics ?? {}
    return direction === 'ingress' ? rxPackets : txPackets + txDropped
  }
  const counted = () => seen().reduce((a, b) => a + b)
  const { programs, device } = await countsAtRest(counted, passed)
  expect(programs).toBe(device)
  expect(programs).toBeGreaterThan(1000n)
})

test('tcx replaces within one link', async (ctx) => {
  ctx.skip(!hasTcx, NO_TCX)
  const hook = hookOn(pair.right, 'ingress')
  await TcAttachment.attach({ ...hook, program: program(0), mode: 'tcx' })
  const before = listTcx(hook)
  expect(before).toEqual([{ programId: program(0).id, linkId: expect.any(Number) }])
  await TcAttachment.attach({ ...hook, program: program(1), mode: 'tcx' })
  expect(listTcx(hook)).toEqual([{ programId: program(1).id, linkId: before[0]?.linkId }])
})

test.for(['tcx', 'clsact'] as const)(
  'a change to %s leaves nothing of the other mode',
  async (to, ctx) => {
    ctx.skip(!hasTcx, NO_TCX)
    const hook = hookOn(pair.right, 'ingress')
    const from = to === 'tcx' ? 'clsact' : 'tcx'
    await TcAttachment.attach({ ...hook, program: program(0), mode: from })
    await TcAttachment.attach({ ...hook, program: program(1), mode: to })
    expect(await TcAttachment.list(hook)).toEqual([{ mode: to, programId: program(1).id }])
  },
)

test('a kernel without tcx says so', async (ctx) => {
  ctx.skip(hasTcx, 'this kernel has tcx')
  const place = {
    ifindex: pair.right.ifindex,
    direction: 'ingress',
    netns: pair.right.netns,
  } as const
  const unsupported = expect.objectContaining({ code: 'unsupported' })
  expect(() => listTcx(place)).toThrow(unsupported)
  await expect(BpfLink.createTcx({ ...place, program: program(0) })).rejects.toEqual(unsupported)
  const hook = hookOn(pair.right, 'ingress')
  const attaching = TcAttachment.attach({ ...hook, program: program(0), mode: 'tcx' })
  await expect(attaching).rejects.toEqual(unsupported)
})

test("others' programs stay, behind ours or before it as asked", async (ctx) => {
  ctx.skip(!hasTcx, NO_TCX)
  const hook = hookOn(pair.right, 'ingress')
  using theirs = await BpfLink.createTcx({ ...hook, program: program(1), order: 'first' })
  await TcAttachment.attach({ ...hook, program: program(0), mode: 'tcx' })
  expect(listTcx(hook).map(({ programId }) => programId)).toEqual([program(0).id, program(1).id])
  await TcAttachment.detach(hook)
  await TcAttachment.attach({ ...hook, program: program(0), mode: 'tcx', order: 'last' })
  expect(listTcx(hook).map(({ programId }) => programId)).toEqual([program(1).id, program(0).id])
  await TcAttachment.detach(hook)
  expect(listTcx(hook)).toEqual([{ programId: program(1).id, linkId: theirs.info().id }])
})

test("others' filters stay", async () => {
  const hook = hookOn(pair.right, 'ingress')
  const theirs = { ...hook, priority: 7, handle: 7, name: 'theirs' }
  await TcAttachment.attach({ ...theirs, program: program(1), mode: 'clsact' })
  await TcAttachment.attach({ ...hook, program: program(0), mode: 'clsact' })
  expect(await TcAttachment.detach(hook)).toBe(true)
  expect(await TcAttachment.list(theirs)).toEqual([{ mode: 'clsact', programId: program(1).id }])
})

test.each(modes)(
  'a device that went takes its attachment along, and a new one gets it: %s',
  async (mode) => {
    const hook = hookOn(pair.right, 'ingress')
    await TcAttachment.attach({ ...hook, program: program(0), mode })
    await pair.left.netlink.links.del({ index: pair.left.ifindex })
    expect(await TcAttachment.list(hook)).toEqual([])

    using next = await VethPair.open()
    const again = { ...hookOn(next.right, 'egress'), pinPath: hook.pinPath }
    await TcAttachment.attach({ ...again, program: program(1), mode })
    expect(await TcAttachment.list(again)).toEqual([{ mode, programId: program(1).id }])
    expect(existsSync(`${hook.pinPath}_new`)).toBe(false)
    expect(await TcAttachment.detach(again)).toBe(true)
    expect(existsSync(hook.pinPath)).toBe(false)

    await TcAttachment.attach({ ...again, program: program(1), mode })
    await next.left.netlink.links.del({ index: next.left.ifindex })
    expect(await TcAttachment.detach(again)).toBe(mode === 'tcx')
    expect(await TcAttachment.detach(again)).toBe(false)
  },
)

test('attach() to no device says so and leaves no pin', async () => {
  const hook = { ...hookOn(pair.right, 'ingress'), ifindex: 9999 }
  for (const mode of modes) {
    const attempt = TcAttachment.attach({ ...hook, program: program(0), mode })
    await expect(attempt).rejects.toMatchObject({ code: 'ENODEV' })
  }
  expect(existsSync(hook.pinPath)).toBe(false)
})

test.each(modes)('attachments and pins outlive a killed process: %s', async (mode) => {
  const hook = hookOn(pair.right, 'ingress')
  const module = (path: string) => new URL(path, import.meta.url).href
  const script = `
    import { RouteNetlink } from '${import.meta.resolve('@sinabro/node-netlink')}'
    import { BpfObject } from '${module('./object.ts')}'
    import { TcAttachment } from '${module('./tc.ts')}'
    const object = BpfObject.open('${testObject('binding_tc')}', {
      pinDir: '${join(bpffs.path, 'maps')}',
    })
    await object.load()
    object.program('tc_count').pin('${join(bpffs.path, 'programs/tc_count')}')
    await TcAttachment.attach({
      ...${JSON.stringify({ ...hook, netlink: undefined, netns: undefined })},
      netlink: RouteNetlink.open(),
      program: object.program('tc_count'),
      mode: '${mode}',
    })
    console.log(object.program('tc_count').id)
    process.kill(process.pid, 'SIGKILL')`
  const net = `--net=/proc/${process.pid}/fd/${pair.right.netns.fd}`
  const child = spawnSync('nsenter', [net, process.execPath, '--input-type=module', '-e', script], {
    encoding: 'utf8',
  })
  expect(child.signal, child.stderr).toBe('SIGKILL')
  expect(await TcAttachment.list(hook)).toEqual([{ mode, programId: Number(child.stdout) }])
  await pair.setUp()
  {
    await using _flood = await pair.flood()
    while (seen()[0] === 0n) await pair.left.netlink.links.get({ index: 1 })
  }
  await TcAttachment.attach({ ...hook, program: program(1), mode })
  expect(await TcAttachment.list(hook)).toEqual([{ mode, programId: program(1).id }])
})
