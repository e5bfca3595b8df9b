// STATUS and GC by the real executable: a short outage is no error, a long one is; GC removes nothing without a list.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { execute, Place } from '../testing/executable.ts'
import { json, raw, silence, standIn } from '../testing/stand-in.ts'
import { outageFileName, type QueueEntry, type Sequence } from './wire.ts'

const done = { exitCode: 0, signal: null, stdout: '', stderr: '' }
const network = { cniVersion: '1.1.0' }

test('STATUS and GC reach the agent without any of the variables of an attachment, and do not look at them', async () => {
  const place = new Place()
  const agent = await standIn(place, json(200, {}))
  const list = [{ containerID: 'a', ifname: 'eth0' }]
  const stdin = place.config({ ...network, 'cni.dev/valid-attachments': list })
  for (const CNI_COMMAND of ['STATUS', 'GC']) {
    expect(await execute({ env: { CNI_COMMAND }, stdin })).toEqual(done)
    const env = { CNI_COMMAND, CNI_CONTAINERID: '..', CNI_IFNAME: '/', CNI_NETNS: 'x' }
    expect(await execute({ env, stdin })).toEqual(done)
  }
  expect(agent.received.map(({ path }) => path)).toEqual([
    ...['/v1/cni/status', '/v1/cni/status', '/v1/cni/gc', '/v1/cni/gc'],
  ])
  for (const { body } of agent.received) {
    expect(body).toMatchObject({
      containerId: '',
      netns: '',
      ifname: '',
      config: { 'cni.dev/valid-attachments': list },
    })
  }
})

test.each(['STATUS', 'GC'])('%s needs a configuration of 1.1.0 (1)', async (verb) => {
  const place = new Place()
  const stdin = place.config({ cniVersion: '1.0.0', 'cni.dev/valid-attachments': [] })
  const { stdout } = await place.call(verb, { stdin })
  expect(JSON.parse(stdout)).toMatchObject({ cniVersion: '1.0.0', code: 1 })
})

test.each([-1, 1.5, '60', 1e9])('statusGraceSec %j is refused with 7', async (statusGraceSec) => {
  const place = new Place()
  const { stdout } = await place.call('STATUS', {
    stdin: place.config({ ...network, statusGraceSec }),
  })
  expect(JSON.parse(stdout)).toMatchObject({ code: 7 })
})

test("STATUS passes the agent's own error on", async () => {
  const place = new Place()
  await standIn(place, json(503, { cniVersion: '1.1.0', code: 51, msg: 'no route to other nodes' }))
  const outcome = await place.call('STATUS', { stdin: place.config(network) })
  expect(outcome.exitCode).toBe(1)
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 51, msg: 'no route to other nodes' })
})

test('STATUS forgives an outage for statusGraceSec from its first call on, then says 50', async () => {
  const place = new Place()
  const stdin = place.config(network)
  expect(await place.call('STATUS', { stdin })).toEqual(done)
  const since = readOutage(place)
  expect(await place.call('STATUS', { stdin })).toEqual(done)
  expect(readOutage(place)).toEqual(since)
  writeOutage(place, { ...since, bootTimeUs: since.bootTimeUs - 59e6 })
  expect(
    await place.call('STATUS', { stdin: place.config({ ...network, statusGraceSec: 600 }) }),
  ).toEqual(done)
  writeOutage(place, { ...since, bootTimeUs: since.bootTimeUs - 60e6 })
  const outcome = await place.call('STATUS', { stdin })
  expect(outcome.exitCode).toBe(1)
  expect(JSON.parse(outcome.stdout)).toMatchObject({
    cniVersion: '1.1.0',
    code: 50,
    msg: expect.stringMatching(/6\d s/),
  })
})

test.each([
  ['is content', json(200, {}), 0],
  ['has an error of its own', json(503, { cniVersion: '1.1.0', code: 50, msg: 'no' }), 1],
])('an agent that %s ends the outage', async (_, answer, exitCode) => {
  const place = new Place()
  const stdin = place.config(network)
  await place.call('STATUS', { stdin })
  await standIn(place, answer)
  expect((await place.call('STATUS', { stdin })).exitCode).toBe(exitCode)
  expect(existsSync(join(place.folder, outageFileName))).toBe(false)
})

test.each([
  ['is silent', silence],
  ['breaks off', raw('')],
  ['talks nonsense', raw('hello\r\n\r\n')],
])('an agent that %s counts as away', async (_, answer) => {
  const place = new Place()
  await standIn(place, answer)
  const stdin = place.config({ ...network, statusGraceSec: 0 })
  await place.call('STATUS', { stdin })
  expect(JSON.parse((await place.call('STATUS', { stdin })).stdout)).toMatchObject({ code: 50 })
})

test.each([
  ['of another boot', '{"bootId":"00000000-0000-4000-8000-000000000000","bootTimeUs":1}'],
  ['from the future', JSON.stringify({ bootId: bootId(), bootTimeUs: 1e15 })],
  ['that is empty', ''],
  ['that is no JSON', '{'],
  ['without a time', JSON.stringify({ bootId: bootId() })],
])('a memory %s is forgotten and the count starts again', async (_, text) => {
  const place = new Place()
  writeFileSync(join(place.folder, outageFileName), text)
  expect(await place.call('STATUS', { stdin: place.config(network) })).toEqual(done)
  expect(readOutage(place)).toEqual({ bootId: bootId(), bootTimeUs: expect.any(Number) })
  expect(readdirSync(place.folder).filter((name) => name.startsWith('.'))).toEqual([])
})

test('STATUS where nothing can be remembered does not take the node down', async () => {
  const place = new Place()
  const stdin = place.config({ ...network, statusGraceSec: 1, socket: '/proc/sinabro/agent.sock' })
  expect(await place.call('STATUS', { stdin })).toEqual(done)
  expect(await place.call('STATUS', { stdin })).toEqual(done)
})

test('STATUS before the agent ever ran makes its folder', async () => {
  const place = new Place()
  const stdin = place.config({ ...network, socket: `${place.folder}/run/sinabro/agent.sock` })
  expect(await place.call('STATUS', { stdin })).toEqual(done)
  expect(existsSync(`${place.folder}/run/sinabro/${outageFileName}`)).toBe(true)
})

test.each([
  ['no list', {}],
  ['null', { 'cni.dev/valid-attachments': null }],
  ['an object', { 'cni.dev/valid-attachments': {} }],
  ['an entry that is null', { 'cni.dev/valid-attachments': [null] }],
  ['an entry without ifname', { 'cni.dev/valid-attachments': [{ containerID: 'a' }] }],
  ['an entry without containerID', { 'cni.dev/valid-attachments': [{ ifname: 'eth0' }] }],
  ['an entry of numbers', { 'cni.dev/valid-attachments': [{ containerID: 1, ifname: 2 }] }],
])('GC with %s is refused with 7, asks for nothing and queues nothing', async (_, members) => {
  const place = new Place()
  const agent = await standIn(place, json(200, {}))
  const outcome = await place.call('GC', { stdin: place.config({ ...network, ...members }) })
  expect(outcome.exitCode).toBe(1)
  expect(JSON.parse(outcome.stdout)).toMatchObject({ cniVersion: '1.1.0', code: 7 })
  expect(agent.received).toEqual([])
  expect(existsSync(place.stateDir)).toBe(false)
})

test('GC takes an empty list, and the list under its older name', async () => {
  const place = new Place()
  const agent = await standIn(place, json(200, {}))
  for (const name of ['cni.dev/valid-attachments', 'cni.dev/attachments']) {
    expect(await place.call('GC', { stdin: place.config({ ...network, [name]: [] }) })).toEqual(
      done,
    )
  }
  for (const { body } of agent.received) {
    expect(body.config).toEqual(place.config({ ...network, 'cni.dev/valid-attachments': [] }))
  }
  expect(agent.received).toHaveLength(2)
})

test('GC without an agent is queued with its list and its time', async () => {
  const place = new Place()
  const list = [{ containerID: 'a', ifname: 'eth0' }]
  const stdin = place.config({ ...network, 'cni.dev/valid-attachments': list })
  expect(await place.call('GC', { stdin })).toEqual(done)
  const folder = join(place.stateDir, 'queue')
  const [name] = readdirSync(folder)
  const entry: QueueEntry = JSON.parse(readFileSync(join(folder, String(name)), 'utf8'))
  expect(entry).toMatchObject({
    format: 1,
    verb: 'GC',
    request: { sequence: { bootId: bootId() } },
  })
  expect(entry.request.config['cni.dev/valid-attachments']).toEqual(list)
})

test('GC that can neither be done nor queued is an error 5', async () => {
  const place = new Place()
  mkdirSync(place.stateDir)
  writeFileSync(join(place.stateDir, 'queue'), '')
  const stdin = place.config({ ...network, 'cni.dev/valid-attachments': [] })
  expect(JSON.parse((await place.call('GC', { stdin })).stdout)).toMatchObject({ code: 5 })
})

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

function readOutage(place: Place): Sequence {
  return JSON.parse(readFileSync(join(place.folder, outageFileName), 'utf8'))
}

function writeOutage(place: Place, since: Sequence): void {
  writeFileSync(join(place.folder, outageFileName), JSON.stringify(since))
}
