// Leaving a node: what is refused, what stays until when, and that a restart goes on with it.
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../runtime/log.ts'
import { Leaving } from './leaving.ts'

let folder: string
let count: number

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sinabro-leaving-'))
  for (const name of ['state', 'net.d', 'bin']) await mkdir(join(folder, name))
  await writeFile(join(folder, 'net.d', '05-sinabro.conflist'), '{}')
  await writeFile(join(folder, 'net.d', '10-other.conflist'), '{}')
  await writeFile(join(folder, 'bin', 'sinabro-cni'), 'x')
  count = 2
})
afterEach(() => rm(folder, { recursive: true }))

function open(): Leaving {
  return new Leaving({
    stateDir: join(folder, 'state'),
    install: { confDir: join(folder, 'net.d'), binDir: join(folder, 'bin') },
    attachments: () => count,
    log: silentLog,
  })
}

const files = async () => [
  ...(await readdir(join(folder, 'net.d'))),
  ...(await readdir(join(folder, 'bin'))),
]

test('a node that does not leave refuses nothing and loses nothing', async () => {
  const leaving = open()
  leaving.refuseAdd()
  leaving.refuseStatus()
  count = 0
  await leaving.afterRemoval()
  expect(await files()).toHaveLength(3)
})

test('a node that leaves takes no ADD; conflist and executable go with the last attachment, also after a restart', async () => {
  expect(await open().leave()).toBe(2)
  const restarted = open()
  expect(() => restarted.refuseAdd()).toThrow(expect.objectContaining({ cniCode: 11 }))
  expect(() => restarted.refuseStatus()).toThrow(expect.objectContaining({ cniCode: 50 }))
  count = 1
  await restarted.afterRemoval()
  expect(await files()).toHaveLength(3)
  count = 0
  await restarted.afterRemoval()
  expect(await files()).toEqual(['10-other.conflist'])
  await restarted.afterRemoval()
})

test('a node without attachments leaves at once', async () => {
  count = 0
  expect(await open().leave()).toBe(0)
  expect(await files()).toEqual(['10-other.conflist'])
})
