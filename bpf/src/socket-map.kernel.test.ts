// Programs on a map of sockets, with real connections in it: messages go from end to end, programs are replaced and taken off.
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { mountBpffs, type PrivateBpffs } from '../testing/bpffs.ts'
import { TestCgroup } from '../testing/cgroup.ts'
import { testObject } from '../testing/test-object.ts'
import type { SocketHook } from './attach-type.ts'
import { CgroupAttachment } from './cgroup-attachment.ts'
import { BpfMap } from './map.ts'
import { BpfObject } from './object.ts'
import { SocketMapAttachment } from './socket-map.ts'
import { u32, u64 } from './struct.ts'
import { TypedMap } from './typed-map.ts'

const programs: Readonly<Record<SocketHook, string>> = {
  msg_verdict: 'sock_send',
  stream_parser: 'sock_parse',
  stream_verdict: 'sock_receive',
  skb_verdict: 'sock_receive',
}

let bpffs: PrivateBpffs
let cgroup: TestCgroup
/** Two of the same that count in rows of their own; they share the maps. */
let objects: [BpfObject, BpfObject]

beforeEach(async () => {
  bpffs = mountBpffs()
  cgroup = TestCgroup.open()
  const open = (row: number) =>
    BpfObject.open(testObject('binding_sock'), {
      rodata: { sock_row: u32.encode(row) },
      pinDir: join(bpffs.path, 'maps'),
    })
  objects = [open(0), open(1)]
  for (const object of objects) await object.load()
  await CgroupAttachment.attach({
    path: cgroup.path,
    hook: 'sock_ops',
    pinPath: join(bpffs.path, 'links/sock_ops'),
    program: objects[0].program('sock_remember'),
  })
})
afterEach(() => {
  for (const object of objects) object.close()
  cgroup.close()
  bpffs.unmount()
})

const on = (hook: SocketHook, row: 0 | 1 = 0) => ({
  map: objects[0].map('sock_ends'),
  hook,
  program: objects[row].program(programs[hook]),
})
const seen = () => {
  const rows = new TypedMap(objects[0].map('sock_seen'), u32, u64)
  return [0, 1, 2, 3].map((row) => rows.get(row) ?? 0n)
}

/** A connection to itself: 200 questions and answers one after the other; what came back. */
const talk = `
  import { connect, createServer } from 'node:net'
  const server = createServer((socket) => socket.on('data', (d) => socket.write(d)))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const socket = connect(server.address().port, '127.0.0.1')
  await new Promise((resolve) => socket.once('connect', resolve))
  let answered = 0
  for (let i = 0; i < 200; i++) {
    socket.write('question ' + i)
    const answer = await new Promise((resolve) => socket.once('data', resolve))
    if (String(answer) === 'question ' + i) answered++
  }
  console.log(answered)
  process.exit()`

test('messages go from one end of a connection to the other', async () => {
  SocketMapAttachment.attach(on('msg_verdict'))
  expect(await cgroup.run(talk)).toBe('200\n')
  expect(seen()).toEqual([400n, 0n, 0n, 0n])
  SocketMapAttachment.attach(on('msg_verdict', 1))
  expect(await cgroup.run(talk)).toBe('200\n')
  expect(seen()).toEqual([400n, 400n, 0n, 0n])
})

test.each(['stream_verdict', 'skb_verdict'] as const)('received data is seen: %s', async (hook) => {
  if (hook === 'stream_verdict') SocketMapAttachment.attach(on('stream_parser'))
  SocketMapAttachment.attach(on(hook))
  expect(await cgroup.run(talk)).toBe('200\n')
  expect(seen()[2]).toBeGreaterThanOrEqual(400n)
})

test.each(Object.keys(programs) as SocketHook[])('attach() replaces, detach() ends: %s', (hook) => {
  expect(SocketMapAttachment.attached(on(hook))).toBeUndefined()
  for (const row of [0, 0, 1] as const) {
    SocketMapAttachment.attach(on(hook, row))
    expect(SocketMapAttachment.attached(on(hook))).toBe(on(hook, row).program.id)
  }
  // Only the one that is there is taken off.
  expect(SocketMapAttachment.detach(on(hook, 0))).toBe(false)
  expect(SocketMapAttachment.detach(on(hook, 1))).toBe(true)
  expect(SocketMapAttachment.detach(on(hook, 1))).toBe(false)
  expect(SocketMapAttachment.attached(on(hook))).toBeUndefined()
})

test('other maps and other programs are refused', () => {
  using plain = BpfMap.create({
    type: 'hash',
    keySize: 8,
    valueSize: 8,
    maxEntries: 1,
    name: 'test_plain',
  })
  const attach = (what: Partial<ReturnType<typeof on>>) => () =>
    SocketMapAttachment.attach({ ...on('msg_verdict'), ...what })
  expect(attach({ map: plain })).toThrow(/E(OPNOTSUPP|INVAL)/)
  expect(attach({ program: objects[0].program('sock_receive') })).toThrow('EINVAL')
  expect(SocketMapAttachment.attached(on('msg_verdict'))).toBeUndefined()
})
