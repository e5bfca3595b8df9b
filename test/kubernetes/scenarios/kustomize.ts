// What `kubectl apply -k` would apply: the parts give what deploy/sinabro.yaml has, an overlay other directories for CNI files and nothing else.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parseAllDocuments } from 'yaml'
import { run } from '../../lab/command.ts'
import { TREE } from '../../lab/places.ts'
import { MANIFEST } from '../sinabro-network.ts'
import { BINARIES } from '../versions.ts'
import type { Scenario } from './scenario.ts'

interface Volume {
  readonly name: string
  readonly hostPath?: { readonly path: string }
}

interface Part {
  readonly kind: string
  readonly spec?: { readonly template: { readonly spec: { readonly volumes: Volume[] } } }
}

const OVERLAYS = 'deploy/overlays'
const DIRECTORIES = ['cni-bin', 'cni-conf']

async function same(): Promise<string> {
  const shipped = ordered(readFileSync(MANIFEST, 'utf8'))
  const parts = await built('deploy/parts')
  if (!isDeepStrictEqual(parts, shipped)) throw differ('deploy/parts', parts)
  const overlays = readdirSync(join(TREE, OVERLAYS))
  for (const overlay of overlays) {
    const name = join(OVERLAYS, overlay)
    const objects = await built(name)
    for (const volume of cniVolumes(objects)) {
      if (!volume.hostPath?.path.startsWith('/')) throw differ(name, volume)
    }
    if (!isDeepStrictEqual(withoutCni(objects), withoutCni(shipped))) throw differ(name, objects)
  }
  return `parts and ${overlays.join(', ')}`
}

async function built(folder: string): Promise<Part[]> {
  return ordered((await run([join(BINARIES, 'kubectl'), 'kustomize', join(TREE, folder)])).stdout)
}

/** Neither the order of objects nor that of volumes means anything. */
function ordered(yaml: string): Part[] {
  const parts = parseAllDocuments(yaml).map((document) => document.toJS() as Part)
  for (const { spec } of parts) spec?.template.spec.volumes.sort(byName)
  return parts.sort((a, b) => (a.kind < b.kind ? -1 : 1))
}

function cniVolumes(parts: readonly Part[]): Volume[] {
  const volumes = parts.flatMap(({ spec }) => spec?.template.spec.volumes ?? [])
  return volumes.filter(({ name }) => DIRECTORIES.includes(name))
}

function withoutCni(parts: readonly Part[]): Part[] {
  const copies = structuredClone([...parts])
  for (const { hostPath } of cniVolumes(copies)) Object.assign(hostPath ?? {}, { path: '' })
  return copies
}

function byName(a: Volume, b: Volume): number {
  return a.name < b.name ? -1 : 1
}

function differ(what: string, found: unknown): Error {
  return new Error(`${what} is not what ${MANIFEST} has: ${JSON.stringify(found)}`)
}

export const kustomize: readonly Scenario[] = [
  { name: 'kubectl kustomize gives what is shipped, overlays other directories', run: same },
]
