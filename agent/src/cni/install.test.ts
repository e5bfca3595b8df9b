// Files for the runtime: whole, with their modes, in place by rename, and gone again without touching a neighbour.
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  formatConflist,
  type InstallOptions,
  installConflist,
  installExecutable,
  uninstallFiles,
} from './install.ts'

let folder: string
let options: InstallOptions

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sinabro-install-'))
  options = {
    socket: '/run/sinabro/agent.sock',
    stateDir: '/var/lib/sinabro',
    confDir: join(folder, 'net.d'),
    binDir: join(folder, 'bin'),
    executable: join(folder, 'built'),
  }
  await writeFile(options.executable, 'one')
})

afterEach(() => rm(folder, { recursive: true }))

test('formatConflist() is one network with one plug-in that says where the agent and its state are', () => {
  expect(JSON.parse(formatConflist(options))).toEqual({
    cniVersion: '1.0.0',
    cniVersions: ['0.4.0', '1.0.0', '1.1.0'],
    name: 'sinabro',
    plugins: [
      {
        type: 'sinabro-cni',
        socket: options.socket,
        stateDir: options.stateDir,
        capabilities: { ips: true, mac: true, bandwidth: true },
      },
    ],
  })
})

test('installConflist() leaves one file, and leaves an equal one alone', async () => {
  expect(await installConflist(options)).toBe(true)
  expect(await readdir(options.confDir)).toEqual(['05-sinabro.conflist'])
  const before = await stat(join(options.confDir, '05-sinabro.conflist'))
  expect(before.mode & 0o777).toBe(0o644)
  expect(await installConflist(options)).toBe(false)
  expect((await stat(join(options.confDir, '05-sinabro.conflist'))).ino).toBe(before.ino)
})

test('installExecutable() replaces another version without writing into the file that may be running', async () => {
  await installExecutable(options)
  const path = join(options.binDir, 'sinabro-cni')
  const before = await stat(path)
  await writeFile(options.executable, 'two')
  expect(await installExecutable(options)).toBe(true)
  const after = await stat(path)
  expect(after.mode & 0o777).toBe(0o755)
  expect(after.ino).not.toBe(before.ino)
  expect(await readFile(path, 'utf8')).toBe('two')
})

test('uninstallFiles() removes ours, keeps the neighbours, and is done when there is nothing', async () => {
  await installConflist(options)
  await installExecutable(options)
  await writeFile(join(options.confDir, '10-other.conflist'), '{}')
  expect(await uninstallFiles(options)).toHaveLength(2)
  expect(await readdir(options.confDir)).toEqual(['10-other.conflist'])
  expect(await uninstallFiles(options)).toEqual([])
})
