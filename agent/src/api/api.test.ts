// The socket as callers meet it: answers, refusals, limits, callers that go away, and who may sit on the path.
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../runtime/clock.ts'
import { Health } from '../runtime/health.ts'
import { silentLog } from '../runtime/log.ts'
import { Metrics } from '../runtime/metrics.ts'
import { get } from './client.ts'
import { ApiServer } from './server.ts'
import { registerProbes, registerStatus } from './status.ts'

let base: string
let path: string
let server: ApiServer

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'sinabro-api-'))
  path = join(base, 'run', 'agent.sock')
  server = new ApiServer({ log: silentLog })
})
afterEach(async () => {
  await server.close()
  rmSync(base, { recursive: true })
})

interface Answer {
  readonly status: number
  readonly body: unknown
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

function call(method: string, url: string, body: string | Buffer = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        socketPath: path,
        method,
        path: url,
        headers: { 'content-length': Buffer.byteLength(body) },
      },
      (incoming) => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          const isJson = incoming.headers['content-type'] === 'application/json' && text !== ''
          resolve({
            status: incoming.statusCode ?? 0,
            body: isJson ? JSON.parse(text) : text,
            headers: incoming.headers,
          })
        })
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

test('ApiServer hands on the parsed body and the query and answers with JSON and its length', async () => {
  server.route('POST', '/v1/echo', ({ body, query }) => ({
    status: 201,
    body: { got: body, q: query.get('q') },
  }))
  await server.listen(path)
  const { status, body, headers } = await call('POST', '/v1/echo?q=1', '{"ä":[1]}')
  expect(status).toBe(201)
  expect(body).toEqual({ got: { ä: [1] }, q: '1' })
  expect(headers).toMatchObject({ 'content-length': '26', connection: 'close' })
})

test('ApiServer refuses what it does not know with stable codes', async () => {
  server.route('POST', '/v1/echo', () => ({ status: 200 }))
  await server.listen(path)
  const code = async (method: string, url: string, body?: string | Buffer) => {
    const answer = await call(method, url, body)
    return [answer.status, (answer.body as { error: { code: string } }).error.code]
  }
  expect(await code('GET', '/nothing')).toEqual([404, 'not-found'])
  expect(await code('GET', '/v1/echo')).toEqual([405, 'method-not-allowed'])
  expect(await code('POST', '/v1/echo', '{')).toEqual([400, 'bad-request'])
  expect(await code('POST', '/v1/echo', Buffer.from([0x22, 0xff, 0x22]))).toEqual([
    400,
    'bad-request',
  ])
})

test('ApiServer answers a body over the limit, however long it is, and serves the next caller', async () => {
  server.route('POST', '/v1/small', () => ({ status: 200, body: 'ok' }), { maxBodyBytes: 10 })
  await server.listen(path)
  for (const length of [11, 1 << 16, 10 << 20]) {
    const answer = await call('POST', '/v1/small', 'x'.repeat(length))
    expect(answer).toMatchObject({ status: 413, body: { error: { code: 'body-too-large' } } })
  }
  expect(await call('POST', '/v1/small', '"12345678"')).toMatchObject({ status: 200, body: 'ok' })
})

test('ApiServer gives an error its own code, and lets a route say it in its own words', async () => {
  const fail = () => Promise.reject(Object.assign(new Error('no space'), { code: 'disk-full' }))
  server.route('POST', '/v1/plain', fail)
  server.route('POST', '/v1/own', fail, {
    errorBody: ({ code, message }, { body }) => ({ own: code, message, body }),
  })
  await server.listen(path)
  expect(await call('POST', '/v1/plain')).toMatchObject({
    status: 500,
    body: { error: { code: 'disk-full', message: 'no space' } },
  })
  expect(await call('POST', '/v1/own', '7')).toMatchObject({
    body: { own: 'disk-full', message: 'no space', body: 7 },
  })
})

test('ApiServer aborts the signal of a handler whose caller has gone away', async () => {
  const reached = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<unknown>()
  server.route('POST', '/v1/slow', async ({ signal }) => {
    signal.addEventListener('abort', () => gone.resolve(signal.reason))
    reached.resolve()
    await gone.promise
    return { status: 200 }
  })
  await server.listen(path)
  const socket = connect(path)
  socket.write('POST /v1/slow HTTP/1.1\r\nhost: agent\r\ncontent-length: 0\r\n\r\n')
  await reached.promise
  socket.destroy()
  expect(await gone.promise).toMatchObject({ message: 'the caller went away' })
})

test('ApiServer answers for a handler that takes too long, and waits for it when closing', async () => {
  const goOn = Promise.withResolvers<void>()
  let isDone = false
  server.route(
    'POST',
    '/v1/slow',
    async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      await goOn.promise
      isDone = true
      return { status: 200 }
    },
    { timeoutMs: 5 },
  )
  await server.listen(path)
  expect(await call('POST', '/v1/slow')).toMatchObject({
    status: 504,
    body: { error: { code: 'timeout' } },
  })
  const closed = server.close()
  expect(isDone).toBe(false)
  goOn.resolve()
  await closed
  expect(isDone).toBe(true)
})

test('ApiServer lets running calls end when it closes, telling them, and takes the socket away', async () => {
  const reached = Promise.withResolvers<void>()
  server.route('POST', '/v1/slow', async ({ signal }) => {
    reached.resolve()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return { status: 200, body: 'cut short' }
  })
  await server.listen(path)
  const answer = call('POST', '/v1/slow')
  await reached.promise
  await server.close()
  expect(await answer).toMatchObject({ status: 200, body: 'cut short' })
  expect(existsSync(path)).toBe(false)
})

test('ApiServer makes its directory and a socket that only its user may open', async () => {
  await server.listen(path)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(statSync(join(base, 'run')).mode & 0o777).toBe(0o700)
  expect(readdirSync(join(base, 'run'))).toEqual(['agent.sock'])
})

test('ApiServer takes the place of a socket that nobody serves', async () => {
  const dead = createServer()
  await new Promise<void>((resolve) => dead.listen(join(base, 'dead'), resolve))
  const { linkSync, mkdirSync } = await import('node:fs')
  mkdirSync(join(base, 'run'))
  linkSync(join(base, 'dead'), path)
  await new Promise((resolve) => dead.close(resolve))
  server.route('GET', '/v1/x', () => ({ status: 200, body: 'new' }))
  await server.listen(path)
  expect(await call('GET', '/v1/x')).toMatchObject({ body: 'new' })
})

test('ApiServer leaves a socket that is served, and a file that is no socket, alone', async () => {
  await server.listen(path)
  const second = new ApiServer({ log: silentLog })
  await expect(second.listen(path)).rejects.toMatchObject({ code: 'socket-in-use' })
  await second.close()
  const file = join(base, 'precious')
  writeFileSync(file, 'data')
  await expect(new ApiServer({ log: silentLog }).listen(file)).rejects.toMatchObject({
    code: 'not-a-socket',
  })
  expect(statSync(file).size).toBe(4)
  const long = join(base, 'x'.repeat(100), 'agent.sock')
  await expect(new ApiServer({ log: silentLog }).listen(long)).rejects.toMatchObject({
    code: 'path-too-long',
  })
})

test('get() says what to do when no agent answers', async () => {
  await expect(get('/v1/status', { socket: path })).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringContaining("Start it with 'sinabro agent"),
  })
  await server.listen(path)
  await expect(get('/v1/nothing', { socket: path })).rejects.toMatchObject({
    code: 'refused',
    message: '/v1/nothing: the agent answered 404: no such path: /v1/nothing',
  })
})

test('ApiServer says what it answered, by route, however it ended', async () => {
  const answered: unknown[] = []
  await server.close()
  server = new ApiServer({ log: silentLog, onAnswered: (one) => answered.push(one) })
  server.route('GET', '/ok', () => ({ status: 200, body: { is: 'fine' } }))
  server.route('GET', '/bad', () => Promise.reject(new Error('no')))
  await server.listen(path)
  await call('GET', '/ok?x=1')
  await call('GET', '/bad')
  await call('GET', '/none')
  const tookMs = expect.any(Number)
  expect(answered).toMatchObject([
    { method: 'GET', path: '/ok', status: 200, body: { is: 'fine' }, tookMs },
    { path: '/bad', status: 500, tookMs },
    { path: undefined, status: 404, tookMs },
  ])
})

test('listenOn() serves probes on loopback, and says when the port is taken', async () => {
  const health = new Health(systemClock)
  health.starting('overlay', 'waits')
  const options = { health, metrics: new Metrics(), log: silentLog }
  registerProbes({ api: server, ...options }, '')
  await server.listenOn({ host: '127.0.0.1', port: 0 })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const at = `http://127.0.0.1:${address.port}`
  expect(await (await fetch(`${at}/healthz`)).text()).toBe('ok\n')
  const notReady = await fetch(`${at}/readyz`)
  expect([notReady.status, await notReady.text()]).toEqual([503, 'overlay: waits\n'])
  expect((await fetch(`${at}/metrics`)).headers.get('content-type')).toContain('version=0.0.4')
  expect((await fetch(`${at}/v1/pods`)).status).toBe(404)
  const second = new ApiServer({ log: silentLog })
  await expect(second.listenOn({ host: '127.0.0.1', port: address.port })).rejects.toMatchObject({
    code: 'address-unavailable',
    message: expect.stringContaining('another process listens there'),
  })
  await second.close()
})

test('registerStatus() tells probes whether the agent is alive and ready', async () => {
  const health = new Health(systemClock)
  const options = { api: server, health, metrics: new Metrics(), log: silentLog, pods: () => [] }
  registerStatus({
    ...options,
    status: () => ({
      version: '1',
      node: 'n1',
      pid: 1,
      startedAt: '',
      source: '',
      nodeCount: 0,
      podCount: 0,
      ranges: [],
      facts: {},
      features: [],
      conditions: [],
      events: [],
      problems: [],
    }),
  })
  await server.listen(path)
  health.starting('disk', 'is slow')
  expect(await call('GET', '/v1/healthz')).toMatchObject({ status: 200, body: 'ok\n' })
  expect(await call('GET', '/v1/readyz')).toMatchObject({ status: 503, body: 'disk: is slow\n' })
  health.ok('disk')
  expect(await call('GET', '/v1/readyz')).toMatchObject({ status: 200 })
  expect(await get('/v1/status', { socket: path })).toMatchObject({ node: 'n1', healthy: true })
  expect((await call('GET', '/v1/metrics')).headers['content-type']).toContain('version=0.0.4')
})
