// Manifests that no person wrote, or with a hand that slipped far: each is refused with its place, none stalls, the rest applies.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../runtime/clock.ts'
import { silentLog } from '../../runtime/log.ts'
import { type Cluster, createCluster } from '../cluster.ts'
import { MAX_FILE_BYTES } from './file.ts'
import { ManifestSource } from './source.ts'

let dir: string
let cluster: Cluster
let source: ManifestSource

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sinabro-manifests-'))
  cluster = createCluster()
  source = new ManifestSource({ dir, cluster, log: silentLog, clock: systemClock })
})
afterEach(() => rmSync(dir, { recursive: true }))

const at = (name: string): string => join(dir, name)
const node = (name: string, more = ''): string =>
  `apiVersion: v1\nkind: Node\nmetadata:\n  name: ${name}\n${more}`

/** Reads `bad` between two good documents, and beside a good file. What is said of it: `line message`. */
async function complaints(bad: string | Buffer): Promise<string[]> {
  const around = [Buffer.from(`${node('before')}---\n`), Buffer.from(`\n---\n${node('after')}`)]
  writeFileSync(
    at('a.yaml'),
    Buffer.concat([around[0] ?? '', Buffer.from(bad), around[1] ?? ''] as Buffer[]),
  )
  writeFileSync(at('b.yaml'), node('beside'))
  await source.read()
  const names = cluster.nodes.values().map(({ name }) => name)
  for (const name of ['before', 'after', 'beside']) expect(names).toContain(name)
  return cluster.problems
    .values()
    .filter(({ code }) => code !== 'no-pod-cidrs')
    .map(({ where, message }) => `${where.replace(`${dir}/a.yaml:`, '')} ${message}`)
}

const manyKeys = (count: number): string =>
  Array.from({ length: count }, (_, i) => `    k${i}: v\n`).join('')

describe('the document is refused at its line, the others apply', () => {
  test.each<[string, string | Buffer, RegExp]>([
    [
      'bytes that are not UTF-8',
      Buffer.from('kind: Node\nmetadata:\n  name: caf\xe9\n', 'latin1'),
      /^8 not UTF-8$/,
    ],
    ['UTF-16', Buffer.from('kind: Node\n\u00ff', 'utf16le'), /^[67] not UTF-8$/],
    ['NUL', 'kind: N\0de\napiVersion: v1\n', /^6 N\0de of v1 is not read/],
    ['a key twice', 'kind: Node\nkind: Pod\n', /^7 the key "kind" is there twice$/],
    ['a key twice, once as a number', 'a:\n  1: x\n  "1": y\n', /^8 the key "1" is there twice$/],
    [
      'aliases that multiply',
      `a: &a [${'x,'.repeat(9)}x]\n${[...'bcdefghi'].map((c, i) => `${c}: &${c} [${`*${'abcdefgh'[i]},`.repeat(9)}*${'abcdefgh'[i]}]\n`).join('')}`,
      /^5 Excessive alias count/,
    ],
    ['an alias of nothing', 'a: *b\n', /^5 Unresolved alias/],
    ['an alias of itself', 'a: &a [*a]\n', /^6 /],
    ['sequences in sequences', '['.repeat(100_000), /^6 /],
    ['maps in maps', '{a: '.repeat(100_000), /^6 /],
    ['sequences on one line', '- '.repeat(100_000), /^6 /],
    [
      'deep indentation',
      Array.from({ length: 900 }, (_, i) => `${' '.repeat(i)}a:\n`).join(''),
      / nested too deeply$/,
    ],
    ['a quote without end', `kind: "${'x\n'.repeat(100_000)}`, /^\d+ Missing closing/],
    ['anchors without end', '&a '.repeat(50_000), /^6 /],
    ['tags that make objects', 'kind: !!js/function "x"\n', /^6 /],
    ['one word', 'Node', /^6 expected an object/],
    [
      'a name that is a prototype',
      'apiVersion: v1\nkind: __proto__\n',
      /^6 __proto__ of v1 is not read/,
    ],
  ])('%s', async (_, bad, expected) => {
    const said = await complaints(bad)
    expect(said).toHaveLength(1)
    expect(said[0]).toMatch(expected)
  })
})

test('tens of thousands of keys in one map are read in one walk', async () => {
  const labels = `  labels:\n${manyKeys(60_000)}`
  expect(await complaints(node('labelled', labels))).toEqual([])
  expect(Object.keys(cluster.nodes.get('labelled')?.labels ?? {})).toHaveLength(60_000)
}, 60_000)

test('a file of nothing but mistakes is a hundred problems and a count', async () => {
  const said = await complaints('a\n---\n'.repeat(5_000))
  expect(said).toHaveLength(101)
  expect(said.at(-1)).toMatch(/4900 more problems in this file are not listed$/)
})

describe('what is no manifest keeps nothing else from being read', () => {
  const REFUSED: readonly [string, () => void, RegExp][] = [
    ['a pipe', () => void execFileSync('mkfifo', [at('x.yaml')]), /^not a file/],
    ['a directory', () => mkdirSync(at('x.yaml')), /^not a file/],
    ['a link to a device without end', () => symlinkSync('/dev/zero', at('x.yaml')), /^not a file/],
    [
      'a link to a pipe',
      () => {
        execFileSync('mkfifo', [at('pipe')])
        symlinkSync('pipe', at('x.yaml'))
      },
      /^not a file/,
    ],
    [
      'a link to nothing',
      () => symlinkSync('nowhere', at('x.yaml')),
      /^a link that leads to nothing$/,
    ],
    ['a link to itself', () => symlinkSync('x.yaml', at('x.yaml')), /^cannot be read: ELOOP$/],
    [
      'a file larger than is read',
      () => {
        writeFileSync(at('x.yaml'), '')
        truncateSync(at('x.yaml'), MAX_FILE_BYTES + 1)
      },
      /^larger than 4194304 bytes: split it/,
    ],
    [
      'a file of the kernel with no size',
      () => symlinkSync('/proc/self/mem', at('x.yaml')),
      /^cannot be read: EIO$/,
    ],
  ]
  test.each(REFUSED)('%s', async (_, make, expected) => {
    make()
    writeFileSync(at('y.yaml'), node('n1'))
    await source.read()
    expect(cluster.nodes.values().map(({ name }) => name)).toEqual(['n1'])
    const [problem] = cluster.problems.values().filter(({ where }) => where === at('x.yaml'))
    expect(problem).toMatchObject({ code: 'unreadable', message: expect.stringMatching(expected) })
  })
})

test('a manifest that turns into something else stays as it was last read', async () => {
  writeFileSync(at('x.yaml'), node('n1'))
  await source.read()
  rmSync(at('x.yaml'))
  execFileSync('mkfifo', [at('x.yaml')])
  await source.read()
  expect(cluster.nodes.values().map(({ name }) => name)).toEqual(['n1'])
})

test('links, as a mounted ConfigMap has them, are followed', async () => {
  mkdirSync(at('..data'))
  writeFileSync(at('..data/nodes.yaml'), node('n1'))
  symlinkSync('..data/nodes.yaml', at('nodes.yaml'))
  await source.read()
  expect(cluster.nodes.values().map(({ name }) => name)).toEqual(['n1'])
})
