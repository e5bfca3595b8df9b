// Sockets on a real kernel, in a namespace of their own: found by what they are connected to, ended, and nobody else's.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isCode } from '../error.ts'
import { NetworkNamespace } from '../namespace.ts'
import { SocketDiag } from './socket-diag.ts'

let diag: SocketDiag
let sockets: Socket[]

beforeEach(() => {
  diag = SocketDiag.open()
  sockets = []
})
afterEach(() => {
  diag.close()
  for (const socket of sockets) socket.close()
})

async function udp(type: 'udp4' | 'udp6', address: string, port: number): Promise<Socket> {
  const socket = createSocket(type)
  sockets.push(socket)
  socket.connect(port, address)
  await once(socket, 'connect')
  return socket
}

const ways = [
  { way: 'IPv4', type: 'udp4', family: 4, address: '127.0.0.1' },
  { way: 'IPv6', type: 'udp6', family: 6, address: '::1' },
  { way: 'IPv4 in IPv6', type: 'udp6', family: 6, address: '::ffff:127.0.0.1' },
] as const

test.each(ways)('a connected UDP socket is found and ended: $way', async (one) => {
  const { type, family, address } = one
  const [mine, others] = [await udp(type, address, 9), await udp(type, address, 10)]
  const find = async (port: number) => {
    const found = await diag.list({ family, protocol: 'udp', state: 'established', remotePort: 9 })
    return found.filter(({ local }) => local.port === port)
  }
  const [found, ...rest] = await find(mine.address().port)
  expect(rest).toEqual([])
  if (found === undefined) throw new Error('not found')
  expect(found).toMatchObject({ family, remote: { address, port: 9 }, local: { address } })
  expect(await find(others.address().port)).toEqual([])

  const other = { ...found, cookie: found.cookie + 1n }
  expect(await diag.destroy(other)).toBe(false)
  const errors = once(mine, 'error')
  try {
    expect(await diag.destroy(found)).toBe(true)
  } catch (error) {
    if (isCode(error, 'EOPNOTSUPP')) return
    throw error
  }
  mine.send('?')
  expect((await errors)[0]).toMatchObject({ code: 'ECONNABORTED' })
  expect(await find(mine.address().port)).toEqual([])
  expect(others.remoteAddress().port).toBe(10)
})

test('a namespace has its own', async () => {
  await udp('udp4', '127.0.0.1', 9)
  using netns = NetworkNamespace.create()
  using there = SocketDiag.open({ netns })
  expect(await there.list({ family: 4, protocol: 'udp' })).toEqual([])
})

test('TCP connections are listed by state', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  const local = { address: '127.0.0.1', port }
  const list = (state: 'established' | 'listen') => diag.list({ family: 4, protocol: 'tcp', state })
  expect(await list('listen')).toContainEqual(expect.objectContaining({ local }))
  expect(await list('established')).toContainEqual(expect.objectContaining({ remote: local }))
  client.destroy()
  server.close()
})
