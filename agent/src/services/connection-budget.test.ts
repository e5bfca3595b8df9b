// Callers that hold connections open and say nothing: how many they hold, and that others are answered all the same.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { ConnectionBudget } from './connection-budget.ts'
import { serveHealth } from './health-server.ts'

const ANSWER = { status: 200, headers: {}, body: 'ok' } as const
const opened: { close(): unknown }[] = []

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

/** One that never ends a connection by itself, as slow as the machine may be. */
async function listen(budget: ConnectionBudget): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    budget.add(server, socket)
  })
  opened.push({ close: () => server.close() })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return (server.address() as AddressInfo).port
}

/** Opened and left with half a request. */
function hold(port: number, from = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from })
  opened.push({ close: () => socket.destroy() })
  socket.on('error', () => undefined)
  socket.resume()
  return new Promise((resolve) => {
    socket.on('connect', () => socket.write('GET / HTTP/1.1\r\nhost: ', () => resolve(socket)))
  })
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())))

test('the one that is held longest goes for the next, of one caller and of one port', async () => {
  const budget = new ConnectionBudget({ ofAll: 100, ofPort: 4, ofCaller: 2 })
  const port = await listen(budget)
  const held = [await hold(port), await hold(port), await hold(port)]
  await closed(held[0] as Socket)
  await expect.poll(() => budget.size, { timeout: 10_000 }).toBe(2)
  await hold(port, '127.0.0.2')
  await hold(port, '127.0.0.3')
  await hold(port, '127.0.0.4')
  await closed(held[1] as Socket)
  await expect.poll(() => budget.size, { timeout: 10_000 }).toBe(4)
})

test('a port that is flooded takes none of another’s', async () => {
  const budget = new ConnectionBudget({ ofAll: 6, ofPort: 6, ofCaller: 6 })
  const [flooded, quiet] = [await listen(budget), await listen(budget)]
  const kept = await hold(quiet)
  await expect.poll(() => budget.size, { timeout: 10_000 }).toBe(1)
  const first = await hold(flooded)
  for (let n = 0; n < 20; n++) await hold(flooded)
  await closed(first)
  await expect.poll(() => budget.size, { timeout: 10_000 }).toBe(6)
  expect(kept.closed).toBe(false)
})

test('who asks is answered while others hold as much as they may', async () => {
  const budget = new ConnectionBudget({ ofAll: 4, ofPort: 4, ofCaller: 4 })
  const server = await serveHealth({ host: '127.0.0.1', port: 0 }, () => ANSWER, budget)
  opened.push(server)
  for (let n = 0; n < 20; n++) {
    await hold(server.port)
    const answer = await fetch(`http://127.0.0.1:${server.port}/`)
    expect(await answer.text()).toBe('ok')
  }
})
