// Files for the runtime: whole, with their modes, in place by rename, and gone again without touching a neighbour.
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../runtime/log.ts'
import {
  formatConflist,
  type InstallOptions,
  installConflist,
  installExecutable,
  uninstallFiles,
} from './install.ts'
import { installNeighbours, portmapVersions } from './neighbours.ts'

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
        capabilities: { ips: true, mac: true, bandwidth: true, portMappings: true },
      },
    ],
  })
})

test.for([
  { name: 'an old one', spoken: ['0.4.0'], unasked: '0.4.0' },
  { name: "Debian 12's", spoken: ['0.4.0', '1.0.0'], unasked: '1.0.0' },
  { name: 'a newer one', spoken: ['0.4.0', '1.0.0', '1.1.0'], unasked: '1.0.0' },
])(
  'formatConflist() chains portmap and offers only versions that it speaks: $name',
  ({ spoken, unasked }) => {
    const { cniVersion, cniVersions, plugins } = JSON.parse(
      formatConflist({ ...options, portmapVersions: spoken }),
    )
    expect(cniVersion).toBe(unasked)
    expect(cniVersions).toEqual(spoken)
    expect(plugins[1]).toEqual({ type: 'portmap', capabilities: { portMappings: true } })
  },
)

test('installNeighbours() puts plug-ins where there are none, and never over one that is there', async () => {
  const shipped = join(folder, 'shipped')
  await mkdir(shipped)
  await mkdir(options.binDir)
  expect(await installNeighbours(shipped, options.binDir)).toEqual([])
  await writeFile(join(shipped, 'loopback'), 'ours')
  await writeFile(join(shipped, 'portmap'), 'ours')
  await writeFile(join(options.binDir, 'loopback'), 'theirs')
  expect(await installNeighbours(shipped, options.binDir)).toEqual(['portmap'])
  expect(await readFile(join(options.binDir, 'loopback'), 'utf8')).toBe('theirs')
  expect((await stat(join(options.binDir, 'portmap'))).mode & 0o777).toBe(0o755)
})

test('portmapVersions() asks the plug-in; one that is absent, fails, talks nonsense or speaks none of our versions is not chained', async () => {
  const { binDir } = options
  const put = async (script: string) => {
    await mkdir(binDir, { recursive: true })
    await rm(join(binDir, 'portmap'), { force: true })
    await writeFile(join(binDir, 'portmap'), script, { mode: 0o755 })
  }
  expect(await portmapVersions(binDir, silentLog)).toBeUndefined()
  await put('#!/bin/sh\n[ $CNI_COMMAND = VERSION ] && echo \'{"supportedVersions":["0.4.0"]}\'\n')
  expect(await portmapVersions(binDir, silentLog)).toEqual(['0.4.0'])
  const foreign = '#!/bin/sh\necho \'{"supportedVersions":["0.3.1","9.0.0"]}\'\n'
  for (const bad of [
    foreign,
    '#!/bin/sh\nexit 1\n',
    '#!/bin/sh\necho {}\n',
    '#!/bin/sh\necho no\n',
    'x',
  ]) {
    await put(bad)
    expect(await portmapVersions(binDir, silentLog)).toBeUndefined()
  }
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
