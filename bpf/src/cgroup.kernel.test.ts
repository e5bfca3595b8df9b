// Programs in the sockets of a cgroup: a service is reached and not seen through, replaced under traffic, listed, taken off.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, rmdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { mountBpffs, type PrivateBpffs } from '../testing/bpffs.ts'
import { TestCgroup } from '../testing/cgroup.ts'
import { testObject } from '../testing/test-object.ts'
import type { CgroupHook } from './attach-type.ts'
import { cgroupId, listCgroup, listCgroupEffective } from './cgroup.ts'
import { CgroupAttachment, type CgroupAttachmentPlace } from './cgroup-attachment.ts'
import { BpfLink } from './link.ts'
import { BpfObject } from './object.ts'
import type { BpfProgram } from './program.ts'
import { u16, u32, u64 } from './struct.ts'
import { TypedMap } from './typed-map.ts'

/** In the order of `enum place` in binding_cgroup.bpf.c. */
const hooks = [
  'connect4',
  'connect6',
  'sendmsg4',
  'sendmsg6',
  'recvmsg4',
  'recvmsg6',
  'getpeername4',
  'getpeername6',
  'sock_ops',
] as const satisfies readonly CgroupHook[]
const programs: Readonly<Record<(typeof hooks)[number], string>> = {
  connect4: 'cgroup_connect4',
  connect6: 'cgroup_connect6',
  sendmsg4: 'cgroup_sendmsg4',
  sendmsg6: 'cgroup_sendmsg6',
  recvmsg4: 'cgroup_recvmsg4',
  recvmsg6: 'cgroup_recvmsg6',
  getpeername4: 'cgroup_peer4',
  getpeername6: 'cgroup_peer6',
  sock_ops: 'cgroup_sock_ops',
}
type Hook = (typeof hooks)[number]

/** TCP and UDP on one port of the loopback, both families; says back what it hears. */
interface EchoServer {
  readonly port: number
  close(): void
}

let bpffs: PrivateBpffs
let cgroup: TestCgroup
let server: EchoServer
/** Two of the same that count in rows of their own; they share the map. */
let objects: BpfObject[]

beforeEach(async () => {
  bpffs = mountBpffs()
  cgroup = TestCgroup.open()
  server = await echoServer()
  objects = []
  for (const row of [0, 1]) {
    const object = BpfObject.open(testObject('binding_cgroup'), {
      rodata: { cgroup_row: u32.encode(row), cgroup_port: u16.encode(server.port) },
      pinDir: join(bpffs.path, 'maps'),
    })
    objects.push(object)
    await object.load()
  }
})
afterEach(() => {
  for (const object of objects) object.close()
  server.close()
  cgroup.close()
  bpffs.unmount()
})

async function echoServer(): Promise<EchoServer> {
  const tcp = createServer((socket) => socket.pipe(socket))
  tcp.listen(0, '::')
  await once(tcp, 'listening')
  const { port } = tcp.address() as { port: number }
  const udp = createSocket('udp6')
  udp.on('message', (message, { address, port: to }) => udp.send(message, to, address))
  // Bound to all addresses, so that answers leave from the one that was asked.
  udp.bind(port, '::')
  await once(udp, 'listening')
  return { port, close: () => [tcp.close(), udp.close()] }
}

function program(hook: Hook, row: 0 | 1 = 0): BpfProgram {
  const object = objects[row]
  if (object === undefined) throw new RangeError('no such object')
  return object.program(programs[hook])
}

function place(hook: Hook, path = cgroup.path): CgroupAttachmentPlace {
  return { path, hook, pinPath: join(bpffs.path, `links/${hook}`) }
}

function seen(hook: Hook): [bigint, bigint] {
  const map = objects[0]?.map('cgroup_seen')
  if (map === undefined) throw new RangeError('no such object')
  const rows = new TypedMap(map, u32, u64)
  const at = 2 * hooks.indexOf(hook)
  return [rows.get(at) ?? 0n, rows.get(at + 1) ?? 0n]
}

const talk = (address: string) => `
  import { connect } from 'node:net'
  import { createSocket } from 'node:dgram'
  const tcp = connect(7, '${address}')
  tcp.end('by tcp')
  let answer = ''
  tcp.on('connect', () => { answer += tcp.remoteAddress + ' ' + tcp.remotePort + ' ' })
  for await (const part of tcp) answer += part
  const udp = createSocket('${address.includes(':') ? 'udp6' : 'udp4'}')
  udp.send('by udp', 7, '${address}')
  const [message, from] = await new Promise((resolve) => {
    udp.once('message', (...all) => resolve(all))
  })
  udp.close()
  console.log(answer + ', ' + from.address + ' ' + from.port + ' ' + message)`

test.each([
  { family: 4, address: '192.0.2.1' },
  { family: 6, address: '2001:db8::1' },
] as const)(
  'who is in the cgroup reaches a service and sees nothing else: IPv$family',
  async (way) => {
    const { family, address } = way
    const used = [
      `connect${family}`,
      `sendmsg${family}`,
      `recvmsg${family}`,
      `getpeername${family}`,
      'sock_ops',
    ] as const satisfies readonly Hook[]
    for (const hook of used) {
      await CgroupAttachment.attach({ ...place(hook), program: program(hook) })
      expect(CgroupAttachment.attached(place(hook))).toBe(program(hook).id)
    }
    const said = await cgroup.run(talk(address))
    expect(said).toBe(`${address} 7 by tcp, ${address} 7 by udp\n`)
    for (const hook of used) expect(seen(hook)[0], hook).toBeGreaterThan(0n)
  },
)

test('attach() and detach() are idempotent, on every hook', async () => {
  for (const hook of hooks) {
    const here = place(hook)
    expect(CgroupAttachment.attached(here)).toBeUndefined()
    for (const row of [0, 0, 1] as const) {
      await CgroupAttachment.attach({ ...here, program: program(hook, row) })
      expect(CgroupAttachment.attached(here)).toBe(program(hook, row).id)
      expect(listCgroup(here)).toEqual([program(hook, row).id])
    }
    expect(await CgroupAttachment.detach(here)).toBe(true)
    expect(listCgroup(here)).toEqual([])
    expect(await CgroupAttachment.detach(here)).toBe(false)
  }
})

test('no call passes unseen while programs change', async () => {
  const hook = 'sendmsg4'
  await CgroupAttachment.attach({ ...place(hook), program: program(hook) })
  const sending = cgroup.run(`
    import { createSocket } from 'node:dgram'
    const udp = createSocket('udp4')
    let sent = 0
    for (let round = 0; round < 300; round++) {
      await Promise.all(Array.from({ length: 32 }, () => new Promise((resolve, reject) => {
        udp.send('x', 7, '192.0.2.1', (error) => error ? reject(error) : resolve(sent++))
      })))
    }
    udp.close()
    console.log(sent)`)
  let isOver = false
  const done = sending.finally(() => {
    isOver = true
  })
  let replaced = 0
  while (!isOver) {
    replaced++
    const row = replaced % 2 === 0 ? 0 : 1
    await CgroupAttachment.attach({ ...place(hook), program: program(hook, row) })
    await new Promise((resolve) => setImmediate(resolve))
  }
  const sent = BigInt(await done)
  const [first, second] = seen(hook)
  expect(first + second).toBe(sent)
  expect(first).toBeGreaterThan(0n)
  expect(second).toBeGreaterThan(0n)
})

test('what runs in a cgroup includes what is attached above it', async () => {
  const below = cgroup.child('below')
  const hook = 'connect4'
  await CgroupAttachment.attach({ ...place(hook), program: program(hook, 0) })
  await CgroupAttachment.attach({
    ...place(hook, below),
    pinPath: join(bpffs.path, 'links/below'),
    program: program(hook, 1),
  })
  const ids = [program(hook, 1).id, program(hook, 0).id]
  expect(listCgroup(place(hook, below))).toEqual([program(hook, 1).id])
  // Others may have attached to the root.
  const effective = listCgroupEffective(place(hook, below))
  expect(effective.filter((id) => ids.includes(id))).toEqual(ids)
})

test("others' programs stay", async () => {
  const here = place('connect4')
  using theirs = await BpfLink.createCgroup({ ...here, program: program('connect4', 1) })
  await CgroupAttachment.attach({ ...here, program: program('connect4') })
  expect(listCgroup(here)).toEqual([program('connect4', 1).id, program('connect4').id])
  await CgroupAttachment.detach(here)
  expect(listCgroup(here)).toEqual([theirs.info().programId])
})

test('a cgroup that went takes its attachment along, and a new one gets it', async () => {
  const hook = 'connect4'
  const first = place(hook, cgroup.child('first'))
  await CgroupAttachment.attach({ ...first, program: program(hook) })
  rmdirSync(first.path)
  expect(CgroupAttachment.attached(first)).toBeUndefined()
  const second = { ...first, path: cgroup.child('second') }
  await CgroupAttachment.attach({ ...second, program: program(hook, 1) })
  expect(CgroupAttachment.attached(second)).toBe(program(hook, 1).id)
  expect(existsSync(`${second.pinPath}_new`)).toBe(false)
  rmdirSync(second.path)
  expect(await CgroupAttachment.detach(second)).toBe(true)
  expect(existsSync(second.pinPath)).toBe(false)
})

test('a link tells where it is', async () => {
  using link = await BpfLink.createCgroup({
    ...place('recvmsg6'),
    program: program('recvmsg6'),
  })
  expect(link.info()).toEqual({
    kind: 'cgroup',
    id: expect.any(Number),
    programId: program('recvmsg6').id,
    cgroupId: cgroupId(cgroup.path),
    hook: 'recvmsg6',
  })
})

test('what is no cgroup, and a program of another hook, are refused', async () => {
  const attach = (path: string, hook: Hook) =>
    CgroupAttachment.attach({ ...place(hook, path), program: program('connect4') })
  await expect(attach(tmpdir(), 'connect4')).rejects.toMatchObject({ code: 'EBADF' })
  const none = join(cgroup.path, 'none')
  await expect(attach(none, 'connect4')).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(attach(cgroup.path, 'connect6')).rejects.toMatchObject({ code: 'EINVAL' })
  expect(existsSync(place('connect4').pinPath)).toBe(false)
})
