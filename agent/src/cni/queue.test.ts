// Queued DELs: order, what is kept after a failure, what is set aside, and files that come while we watch.
import { mkdir, mkdtemp, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type QueueEntry, queueFileName } from '@sinabro/cni/wire'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../runtime/log.ts'
import { DelQueue } from './queue.ts'

let stateDir: string
let done: string[]

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'sinabro-queue-'))
  await mkdir(join(stateDir, 'queue'))
  done = []
})

afterEach(() => rm(stateDir, { recursive: true }))

async function enqueue(
  containerId: string,
  bootTimeUs: number,
  verb: QueueEntry['verb'] = 'DEL',
): Promise<string> {
  const sequence = { bootId: 'b', bootTimeUs }
  const entry: QueueEntry = {
    format: 1,
    verb,
    request: {
      cniVersion: '1.0.0',
      containerId,
      netns: '',
      ifname: 'eth0',
      args: '',
      path: '',
      config: {
        cniVersion: '1.0.0',
        name: 'sinabro',
        type: 'sinabro-cni',
        ...(verb === 'GC' ? { 'cni.dev/valid-attachments': [] } : {}),
      },
      sequence,
    },
  }
  const name = queueFileName(sequence, 1)
  await writeFile(join(stateDir, `queue/.${name}`), JSON.stringify(entry))
  await rename(join(stateDir, `queue/.${name}`), join(stateDir, 'queue', name))
  return name
}

function queue(del: (containerId: string) => Promise<void> = async (id) => void done.push(id)) {
  return new DelQueue({
    stateDir,
    del: (request) => del(request.containerId),
    gc: async (request) => void done.push(`gc ${request.config.name}`),
    log: silentLog,
  })
}

test('replay() works off in the order of time and removes what is done', async () => {
  await enqueue('second', 20)
  await enqueue('first', 3)
  await queue().replay()
  expect(done).toEqual(['first', 'second'])
  expect(await readdir(join(stateDir, 'queue'))).toEqual([])
})

test('replay() takes a GC as well, which names no container', async () => {
  await enqueue('', 1, 'GC')
  await queue().replay()
  expect(done).toEqual(['gc sinabro'])
})

test('replay() keeps a DEL that failed and those behind it', async () => {
  const first = await enqueue('first', 1)
  const second = await enqueue('second', 2)
  const failing = queue(async () => {
    throw new Error('disk')
  })
  await expect(failing.replay()).rejects.toThrow('disk')
  expect(await readdir(join(stateDir, 'queue'))).toEqual([first, second])
})

test('replay() sets aside what it cannot read and goes on', async () => {
  await writeFile(join(stateDir, 'queue/0-broken.json'), '{"format":1,')
  await writeFile(join(stateDir, 'queue/0-other.json'), '{"format":2}')
  await enqueue('good', 1)
  await queue().replay()
  expect(done).toEqual(['good'])
  expect((await readdir(join(stateDir, 'queue-unreadable'))).sort()).toEqual([
    '0-broken.json',
    '0-other.json',
  ])
})

test('replay() leaves a file that is being written, and clears one that a crash left long ago', async () => {
  await writeFile(join(stateDir, 'queue/.new'), '')
  await writeFile(join(stateDir, 'queue/.old'), '')
  await utimes(join(stateDir, 'queue/.old'), 0, 0)
  await queue().replay()
  expect(await readdir(join(stateDir, 'queue'))).toEqual(['.new'])
})

test('watch() takes a DEL that comes later', async () => {
  const stop = new AbortController()
  const arrived = Promise.withResolvers<string>()
  const watching = queue(async (id) => arrived.resolve(id)).watch(stop.signal, () => undefined)
  await enqueue('later', 5)
  expect(await arrived.promise).toBe('later')
  stop.abort()
  await watching
})
