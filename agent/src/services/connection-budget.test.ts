// Callers that hold connections open and say nothing: how many they hold, and that others are answered all the same.
import { connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { ConnectionBudget } from './connection-budget.ts'
import { type HealthServer, serveHealth } from './health-server.ts'

const ANSWER = { status: 200, headers: {}, body: 'ok' } as const
const opened: { close(): unknown }[] = []

afterEach(async () => {
  for (const one of opened.splice(0)) await one.close()
})

async function serve(budget: ConnectionBudget): Promise<HealthServer> {
  const server = await serveHealth({ host: '127.0.0.1', port: 0 }, () => ANSWER, budget)
  opened.push(server)
  return server
}

/** Opened and left with half a request. */
function hold({ port }: HealthServer, from = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from })
  opened.push({ close: () => socket.destroy() })
  socket.on('error', () => undefined)
  return new Promise((resolve) => {
    socket.on('connect', () => socket.write('GET / HTTP/1.1\r\nhost: ', () => resolve(socket)))
  })
}

const ask = async ({ port }: HealthServer): Promise<string> =>
  await (await fetch(`http://127.0.0.1:${port}/`)).text()

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())))

test('the one that is held longest goes for the next, of one caller and of one port', async () => {
  const budget = new ConnectionBudget({ ofAll: 100, ofPort: 4, ofCaller: 2 })
  const server = await serve(budget)
  const held = [await hold(server), await hold(server), await hold(server)]
  await closed(held[0] as Socket)
  expect(budget.size).toBe(2)
  await hold(server, '127.0.0.2')
  await hold(server, '127.0.0.3')
  await hold(server, '127.0.0.4')
  await closed(held[1] as Socket)
  expect(budget.size).toBe(4)
  expect(await ask(server)).toBe('ok')
})

test('a port that is flooded takes none of another’s, and everybody is answered while it lasts', async () => {
  const budget = new ConnectionBudget({ ofAll: 6, ofPort: 6, ofCaller: 6 })
  const [flooded, quiet] = [await serve(budget), await serve(budget)]
  const kept = await hold(quiet)
  for (let n = 0; n < 20; n++) {
    await hold(flooded)
    expect(await ask(quiet)).toBe('ok')
    expect(await ask(flooded)).toBe('ok')
  }
  expect([kept.closed, budget.size <= 6]).toEqual([false, true])
})
