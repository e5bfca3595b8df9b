// The image archive: the same bytes for the same files, and what readers of either kind look for in it.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeArchive } from './archive.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sinabro-archive-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const DESCRIPTION = {
  name: 'localhost/sinabro:1.2.3',
  architecture: 'amd64',
  entrypoint: ['/usr/bin/sinabro'],
  path: '/usr/bin',
  labels: {},
}

/** `names` in the order in which they are made, with times of their own. */
function layer(name: string, names: readonly string[]): string {
  const path = join(folder, name)
  mkdirSync(path)
  for (const [at, file] of names.entries()) {
    writeFileSync(join(path, file), file)
    utimesSync(join(path, file), at, at)
  }
  return path
}

function make(file: string, layers: readonly string[]) {
  return writeArchive(layers, DESCRIPTION, join(folder, file), join(folder, 'scratch'))
}

test('writeArchive() writes the same bytes for the same files, whenever and in whatever order they were made', () => {
  const one = make('one.tar', [layer('a', ['x', 'y', 'z']), layer('b', ['own'])])
  const other = make('other.tar', [layer('c', ['z', 'x', 'y']), layer('d', ['own'])])
  expect(other).toEqual(one)
  expect(
    readFileSync(join(folder, 'other.tar')).equals(readFileSync(join(folder, 'one.tar'))),
  ).toBe(true)
  writeFileSync(join(folder, 'd', 'own'), 'changed')
  const changed = make('changed.tar', [join(folder, 'c'), join(folder, 'd')])
  expect(changed.layers[0]).toEqual(one.layers[0])
  expect(changed.digest).not.toBe(one.digest)
})

interface Descriptor {
  readonly digest: string
  readonly size: number
}

test('writeArchive() makes an OCI layout and a Docker archive of the same blobs', () => {
  const { digest } = make('image.tar', [layer('a', ['x']), layer('b', ['own'])])
  const unpacked = join(folder, 'unpacked')
  mkdirSync(unpacked)
  execFileSync('tar', ['-xf', join(folder, 'image.tar'), '-C', unpacked])
  expect(readdirSync(unpacked).sort()).toEqual([
    'blobs',
    'index.json',
    'manifest.json',
    'oci-layout',
  ])
  const json = (path: string): unknown => JSON.parse(readFileSync(join(unpacked, path), 'utf8'))
  const blob = ({ digest: of, size }: Descriptor): Buffer => {
    const bytes = readFileSync(join(unpacked, 'blobs/sha256', of.slice(7)))
    expect(bytes.length).toBe(size)
    expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(of)
    return bytes
  }
  const index = json('index.json') as {
    manifests: (Descriptor & { annotations: Record<string, string> })[]
  }
  const [found] = index.manifests
  if (found === undefined) throw new Error('no manifest')
  expect(found.digest).toBe(digest)
  expect(found.annotations).toEqual({
    'io.containerd.image.name': 'localhost/sinabro:1.2.3',
    'org.opencontainers.image.ref.name': '1.2.3',
  })
  const manifest = JSON.parse(blob(found).toString()) as {
    config: Descriptor
    layers: Descriptor[]
  }
  const config = JSON.parse(blob(manifest.config).toString()) as {
    rootfs: { diff_ids: string[] }
  }
  const diffIds = manifest.layers.map((one) => {
    const hash = createHash('sha256').update(gunzipSync(blob(one)))
    return `sha256:${hash.digest('hex')}`
  })
  expect(config.rootfs.diff_ids).toEqual(diffIds)
  expect(json('manifest.json')).toEqual([
    {
      Config: `blobs/sha256/${manifest.config.digest.slice(7)}`,
      RepoTags: ['localhost/sinabro:1.2.3'],
      Layers: manifest.layers.map((one) => `blobs/sha256/${one.digest.slice(7)}`),
    },
  ])
})
