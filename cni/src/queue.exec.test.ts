// DEL without an agent, by the real executable: a durable file that says all the agent needs, or an honest error.
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Outcome, Place } from '../testing/executable.ts'
import { json, raw, silence, standIn } from '../testing/stand-in.ts'
import { mayUndo, type QueueEntry } from './wire.ts'

const isRoot = process.getuid?.() === 0
const needsRoot = 'needs root: it mounts'
const done = { exitCode: 0, signal: null, stdout: '', stderr: '' }

test('DEL without an agent is queued, whole, and says nothing', async () => {
  const place = new Place()
  const before = Date.now()
  expect(await place.call('DEL', { env: { CNI_NETNS: undefined } })).toEqual(done)
  expect(queued(place)).toHaveLength(1)
  const [name, entry] = queued(place)[0] ?? []
  expect(entry).toEqual({
    format: 1,
    verb: 'DEL',
    request: {
      cniVersion: '1.0.0',
      containerId: 'c0ffee',
      netns: '',
      ifname: 'eth0',
      args: 'K8S_POD_NAME=web-0',
      path: '/opt/cni/bin',
      config: place.config(),
      sequence: {
        bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
        bootTimeUs: expect.any(Number),
      },
    },
  })
  const { sequence } = (entry as QueueEntry).request
  expect(name).toMatch(new RegExp(`^${sequence.bootId}-0*${sequence.bootTimeUs}-\\d+\\.json$`))
  const file = statSync(join(place.stateDir, 'queue', String(name)))
  expect(file.mode & 0o777).toBe(0o600)
  expect(file.mtimeMs).toBeGreaterThanOrEqual(before - 1000)
  expect(statSync(join(place.stateDir, 'queue')).mode & 0o777).toBe(0o700)
})

test('DEL is queued when the agent answers with nonsense or goes away', async () => {
  const place = new Place()
  await standIn(place, raw('HTTP/1.1 200 OK\r\n\r\n'))
  expect(await place.call('DEL')).toEqual(done)
  const other = new Place()
  await standIn(other, raw(''))
  expect(await other.call('DEL')).toEqual(done)
  expect([queued(place).length, queued(other).length]).toEqual([1, 1])
})

test('DEL is queued when the agent hangs', async () => {
  const place = new Place()
  await standIn(place, silence)
  expect(await place.call('DEL')).toEqual(done)
  expect(queued(place)).toHaveLength(1)
})

test('DEL that the agent refuses is not queued: the runtime asks again', async () => {
  const place = new Place()
  await standIn(place, json(500, { cniVersion: '1.0.0', code: 5, msg: 'disk full' }))
  expect(await place.call('DEL')).toMatchObject({ exitCode: 1 })
  expect(readdirSync(place.folder)).not.toContain('state')
})

test('DELs at once each have their file, in the order of their names', async () => {
  const place = new Place()
  const first = await place.call('DEL', { env: { CNI_CONTAINERID: 'first' } })
  const rest = await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      place.call('DEL', { env: { CNI_CONTAINERID: `c${at}` } }),
    ),
  )
  expect([first, ...rest].every(({ exitCode }) => exitCode === 0)).toBe(true)
  const ids = queued(place).map(([, entry]) => entry.request.containerId)
  expect(new Set(ids).size).toBe(21)
  expect(ids[0]).toBe('first')
})

test('a queued DEL does not undo a later ADD of the same key, and a later DEL does', async () => {
  const place = new Place()
  await place.call('DEL')
  const agent = await standIn(place, json(200, {}))
  await place.call('ADD')
  await place.call('DEL')
  const [old, add, late] = [
    queued(place)[0]?.[1].request,
    agent.received[0]?.body,
    agent.received[1]?.body,
  ].map((request) => (request as unknown as QueueEntry['request']).sequence)
  if (!old || !add || !late) throw new Error('unreachable')
  expect(mayUndo(old, add, add.bootId)).toBe(false)
  expect(mayUndo(late, add, add.bootId)).toBe(true)
})

test('a queue that cannot be written is an error 5 that containerd does not swallow', async () => {
  const place = new Place()
  writeFileSync(place.stateDir, 'a file where the folder should be')
  expectRefusal(await place.call('DEL'))
  expectRefusal(await place.call('DEL', { stdin: place.config({ stateDir: '/proc/sinabro/x' }) }))
})

test('a read-only state folder is an error 5', async ({ skip }) => {
  skip(!isRoot, needsRoot)
  const place = new Place()
  mkdirSync(place.stateDir)
  const outcome = await place.call('DEL', { through: mounted(place, 'ro') })
  expectRefusal(outcome)
  expect(outcome.stdout).toContain('EROFS')
})

test('a full disk is an error 5 and leaves no half-written file', async ({ skip }) => {
  skip(!isRoot, needsRoot)
  const place = new Place()
  mkdirSync(place.stateDir)
  // Two pages: the folder is free, the file does not fit.
  const padding = 'x'.repeat(20_000)
  const list = `rc=$?; ls -A ${place.stateDir}/queue >&2; exit $rc`
  const through = [
    'unshare',
    '-m',
    'sh',
    '-c',
    `${mount(place, 'size=8k')}; "$0"; ${list}`,
  ] as const
  const outcome = await place.call('DEL', { through, stdin: place.config({ padding }) })
  expectRefusal(outcome)
  expect(outcome.stdout).toContain('ENOSPC')
  expect(outcome.stderr).toBe('')
})

function expectRefusal(outcome: Outcome): void {
  expect(outcome.exitCode).toBe(1)
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 5 })
  expect(outcome.stdout).not.toMatch(/not found|no such file or directory/i)
}

/** Runs the executable where the state folder is a tmpfs of its own, seen by nobody else. */
function mounted(place: Place, options: string) {
  return ['unshare', '-m', 'sh', '-c', `${mount(place, options)}; exec "$0"`] as const
}

function mount(place: Place, options: string): string {
  return `mount -t tmpfs -o ${options} none ${place.stateDir}`
}

function queued(place: Place): [string, QueueEntry][] {
  const folder = join(place.stateDir, 'queue')
  const names = readdirSync(folder).sort()
  return names.map((name) => [name, JSON.parse(readFileSync(join(folder, name), 'utf8'))])
}
