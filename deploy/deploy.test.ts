// What a cluster applies: the one file is made of the parts, the image is of this version, and every setting is one of the agent's.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { RENDERED, render } from './render.ts'

interface Part {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly data?: Readonly<Record<string, string>>
  readonly rules?: readonly { readonly resources: string[]; readonly verbs: string[] }[]
  readonly spec?: {
    readonly template?: {
      readonly spec: { readonly volumes?: readonly { readonly hostPath?: { path: string } }[] }
    }
  }
}

const objects = parseAllDocuments(render())
  .map((document) => document.toJS() as Part | null)
  .filter((part) => part !== null)

test('sinabro.yaml is what render() makes of the parts', () => {
  expect(readFileSync(RENDERED, 'utf8')).toBe(render())
  expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
    'ServiceAccount sinabro',
    'ClusterRole sinabro',
    'ClusterRoleBinding sinabro',
    'ConfigMap sinabro',
    'DaemonSet sinabro',
  ])
})

const uninstall = readFileSync(new URL('./uninstall.yaml', import.meta.url), 'utf8')

test('every image is of the version of package.json', () => {
  const { version } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  ) as { version: string }
  const images = [...`${render()}${uninstall}`.matchAll(/image: (.*)/g)].map(([, image]) => image)
  expect(new Set(images)).toEqual(new Set([`localhost/sinabro:${version}`]))
})

test('uninstall.yaml looks where the DaemonSet puts things', () => {
  const daemonSet = objects.find(({ kind }) => kind === 'DaemonSet')
  const theirs = parseAllDocuments(uninstall).map((document) => document.toJS() as Part)
  expect(theirs).toHaveLength(1)
  const shared = hostPaths(theirs[0])
  expect(shared).not.toEqual([])
  expect(hostPaths(daemonSet)).toEqual(expect.arrayContaining(shared))
})

function hostPaths(part: Part | undefined): string[] {
  const { volumes } = part?.spec?.template?.spec ?? {}
  return (volumes ?? []).flatMap(({ hostPath }) => hostPath?.path ?? [])
}

test('every key of the ConfigMap, also those that are commented out, is a flag of the agent', () => {
  const flags = readFileSync(new URL('../agent/src/commands/agent.ts', import.meta.url), 'utf8')
  const options = readFileSync(new URL('../agent/src/commands/options.ts', import.meta.url), 'utf8')
  const part = readFileSync(new URL('./parts/config-map.yaml', import.meta.url), 'utf8')
  const keys = [...part.matchAll(/^ {2}(?:# )?([a-z-]+): (?:"|[a-z]+$)/gm)].map(([, key]) => key)
  const data = objects.find(({ kind }) => kind === 'ConfigMap')?.data ?? {}
  for (const key of [...Object.keys(data), ...keys.filter((one) => one !== 'name')]) {
    if (key === 'namespace') continue
    expect(`${flags}${options}`, key).toContain(`'--${key} `)
  }
})

test('the ClusterRole allows to list and watch what the agent watches, and nothing else', () => {
  const source = readFileSync(
    new URL('../agent/src/cluster/kubernetes/source.ts', import.meta.url),
    'utf8',
  )
  const watched = [...source.matchAll(/resource: '(\w+)'/g)].map(([, resource]) => resource)
  const { rules = [] } = objects.find(({ kind }) => kind === 'ClusterRole') ?? {}
  const allowed = rules.filter(({ verbs }) => verbs.includes('watch'))
  expect(allowed.flatMap(({ resources }) => resources).sort()).toEqual(watched.sort())
  expect(new Set(allowed.map(({ verbs }) => verbs.join()))).toEqual(new Set(['list,watch']))
})
