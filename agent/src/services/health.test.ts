// What load balancers hear: words and figures of each answer, ports that come and go with Services, and callers that misbehave.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { NodeRow } from '../cluster/rows.ts'
import { systemClock } from '../runtime/clock.ts'
import { Health } from '../runtime/health.ts'
import { Jobs } from '../runtime/jobs.ts'
import { silentLog } from '../runtime/log.ts'
import { Table } from '../state/table.ts'
import { ServiceHealth, type ServiceHealthOptions } from './health.ts'
import { answerHealthz, answerLivez, answerService, type Sync } from './health-answers.ts'
import { HEALTH_MEMORY_FILE, readHealthMemory } from './health-memory.ts'
import { serveHealth } from './health-server.ts'
import type { Backend, ServiceRows } from './rows.ts'

const NOW = Date.UTC(2026, 10, 21, 20, 54, 59, 123)

test('healthz is well while changes are written in time and the node stays', () => {
  const answer = answerHealthz({ waitingMs: 59_999, lastAt: 0 }, false, NOW)
  expect(answer).toEqual({
    status: 200,
    headers: { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' },
    body: '{"lastUpdated": "2026-11-21 20:54:59.123 +0000 UTC","currentTime": "2026-11-21 20:54:59.123 +0000 UTC", "nodeEligible": true}',
  })
  const leaving = answerHealthz({ lastAt: 0 }, true, NOW)
  expect(leaving.status).toBe(503)
  expect(JSON.parse(leaving.body)).toMatchObject({
    lastUpdated: '1970-01-01 00:00:00.000 +0000 UTC',
    nodeEligible: false,
  })
  const late = answerHealthz({ waitingMs: 60_000 }, false, NOW)
  expect(late.status).toBe(503)
  expect(JSON.parse(late.body).lastUpdated).toBe('0001-01-01 00:00:00 +0000 UTC')
})

test('livez does not ask whether the node stays', () => {
  const { status, body } = answerLivez({}, NOW)
  expect(status).toBe(200)
  expect(Object.keys(JSON.parse(body))).toEqual(['lastUpdated', 'currentTime'])
  expect(answerLivez({ waitingMs: 60_000 }, NOW).status).toBe(503)
})

function backend(address: string, rest: Partial<Backend> = {}): Backend {
  return { address, port: 80, isTerminating: false, isOnThisNode: true, ...rest }
}

function local(healthCheckNodePort: number, ...backends: Backend[]): ServiceRows {
  const port = (portName: string) => ({
    ...({ key: `default/web:${portName}/TCP/4`, portName, protocol: 'TCP', family: 4 } as const),
    ...{ frontends: [], internal: [], external: backends },
    ...{ isInternalLocal: false, isExternalLocal: true },
  })
  const ports = [port('http'), port('https')]
  return { key: 'default/web', addresses: [], ports, healthCheckNodePort }
}

test('a Service is well where an endpoint of it may be asked; each counts once', () => {
  const two = local(1, backend('10.0.0.1'), backend('10.0.0.2'), backend('10.0.0.2'))
  const answer = answerService('default/web', two, {})
  expect(answer).toMatchObject({
    status: 200,
    headers: { 'x-load-balancing-endpoint-weight': '2' },
  })
  expect(JSON.parse(answer.body)).toEqual({
    service: { namespace: 'default', name: 'web' },
    localEndpoints: 2,
    serviceProxyHealthy: true,
  })
  const ending = local(1, backend('10.0.0.1', { isTerminating: true }))
  const remote = local(1, backend('10.0.0.1', { isOnThisNode: false }))
  for (const row of [ending, remote, local(1), undefined]) {
    const none = answerService('default/web', row, {})
    expect(none).toMatchObject({
      status: 503,
      headers: { 'x-load-balancing-endpoint-weight': '0' },
    })
  }
  const late = answerService('default/web', two, { waitingMs: 60_000 })
  expect(late.status).toBe(503)
  expect(JSON.parse(late.body)).toMatchObject({ localEndpoints: 2, serviceProxyHealthy: false })
})

let jobs: Jobs | undefined
afterEach(() => jobs?.stop())

function start(options: Partial<ServiceHealthOptions> = {}, isReady = true) {
  const rows = new Table<ServiceRows>('services', ({ key }) => key)
  const health = new Health(systemClock)
  const world: { node?: NodeRow; sync: Sync } = { sync: {} }
  const running = new ServiceHealth({
    ...{ rows, node: () => world.node, sync: () => world.sync },
    ...{ log: silentLog, clock: systemClock, health, ...options },
  })
  jobs = new Jobs({ log: silentLog, health, clock: systemClock })
  running.start(jobs)
  if (isReady) rows.markReady()
  return { rows, running, health, world }
}

type Running = ReturnType<typeof start>['running']

async function portOf(running: Running, name: string): Promise<number> {
  const find = () => running.open().find((one) => one.name === name)?.port ?? 0
  await expect.poll(find, { timeout: 10_000 }).toBeGreaterThan(0)
  return find()
}

const localhost = { host: '127.0.0.1', port: 0 }

test('the ports of the program: paths as kube-proxy has them, and what the Node object says is heard at once', async () => {
  const { running, world } = start({ healthzAddress: localhost, proxyModeAddress: localhost })
  const at = `http://127.0.0.1:${await portOf(running, 'healthz')}`
  const healthz = await fetch(`${at}/healthz?x=1`)
  expect([healthz.status, healthz.headers.get('connection')]).toEqual([200, 'close'])
  expect(await healthz.json()).toMatchObject({ nodeEligible: true })
  world.node = {
    ...{ name: 'n1', podCIDRs: [], internalIPs: [], labels: {}, annotations: {} },
    isLeaving: true,
  }
  expect((await fetch(`${at}/healthz`)).status).toBe(503)
  expect((await fetch(`${at}/livez`)).status).toBe(200)
  expect((await fetch(`${at}/metrics`)).status).toBe(404)
  const mode = `http://127.0.0.1:${await portOf(running, 'proxyMode')}`
  expect(await (await fetch(`${mode}/proxyMode`)).text()).toBe('ebpf')
  expect((await fetch(`${mode}/healthz`)).status).toBe(404)
})

test('the port of a Service comes and goes with it, and answers on every path', async () => {
  const { rows, running } = start()
  // The kernel chooses; of a real Service the API server does.
  rows.upsert(local(0, backend('10.0.0.1')))
  const port = await portOf(running, 'default/web')
  const first = await fetch(`http://127.0.0.1:${port}/any/path`, { method: 'POST', body: 'x' })
  expect(first.status).toBe(200)
  expect(
    (await fetch(`http://[::1]:${port}/`)).headers.get('x-load-balancing-endpoint-weight'),
  ).toBe('1')
  rows.upsert(local(0))
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(503)
  rows.remove('default/web')
  await expect.poll(() => running.open(), { timeout: 10_000 }).toEqual([])
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow()
})

test('a restarted agent answers as before until the cluster has told of its Services; then those that are gone are closed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sinabro-health-'))
  try {
    const memory = { folder, bootId: 'this' }
    const [one, other] = [await freePort(), await freePort()]
    const first = start({ memory })
    first.rows.upsert({ ...local(one, backend('10.0.0.1')), key: 'default/one' })
    first.rows.upsert({ ...local(other, backend('10.0.0.2')), key: 'default/other' })
    const kept = () => readHealthMemory(memory)
    await expect.poll(kept, { timeout: 10_000 }).toHaveLength(2)
    await jobs?.stop()

    const isServing = () => true
    expect(await readHealthMemory({ folder, bootId: 'another' })).toEqual([])
    const next = start({ memory, isServing }, false)
    const port = await portOf(next.running, 'default/one')
    await portOf(next.running, 'default/other')
    const answer = await fetch(`http://127.0.0.1:${port}/`)
    expect([answer.status, await answer.json()]).toEqual([
      200,
      {
        service: { namespace: 'default', name: 'one' },
        ...{ localEndpoints: 1, serviceProxyHealthy: true },
      },
    ])
    next.rows.upsert({ ...local(one), key: 'default/one' })
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(503)
    next.rows.markReady()
    const names = () => next.running.open().map(({ name }) => name)
    await expect.poll(names, { timeout: 10_000 }).toEqual(['default/one'])
    await jobs?.stop()

    await writeFile(join(folder, HEALTH_MEMORY_FILE), '{"bootId":"this","ports":[{"port":"x"}]}')
    const broken = start({ memory, isServing, healthzAddress: localhost }, false)
    await portOf(broken.running, 'healthz')
    expect(broken.running.open()).toHaveLength(1)
  } finally {
    await rm(folder, { recursive: true })
  }
})

async function freePort(): Promise<number> {
  const server = await serveHealth({ host: '0.0.0.0', port: 0 }, () => undefined)
  await server.close()
  return server.port
}

test('a port that another process has is a named fault of this component, and keeps the others from nothing', async () => {
  const other = await serveHealth({ host: '0.0.0.0', port: 0 }, () => undefined)
  try {
    const proxyModeAddress = { host: '127.0.0.1', port: other.port }
    const { running, health } = start({ healthzAddress: localhost, proxyModeAddress })
    await portOf(running, 'healthz')
    const message = () =>
      health.snapshot().components.find(({ component }) => component === 'health ports')?.message
    await expect.poll(message, { timeout: 10_000 }).toContain('another process listens there')
    expect(health.snapshot().isReady).toBe(true)
  } finally {
    await other.close()
  }
})

test('callers that talk nonsense, too much or not at all are cut off, and others are answered meanwhile', async () => {
  const { running } = start({ healthzAddress: localhost })
  const port = await portOf(running, 'healthz')
  const ended = (send: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      let heard = ''
      socket.on('data', (data) => {
        heard += data
      })
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(heard))
      if (send !== '') socket.write(send)
    })
  const silent = ended('')
  expect(await ended('\0\0\0\r\n\r\n')).toMatch(/^HTTP\/1.1 400|^$/)
  const long = `GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`
  expect(await ended(long)).toMatch(/^HTTP\/1.1 431|^$/)
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
  expect(await silent).not.toContain('200')
}, 30_000)
