// The package as others get it: packed, unpacked into a project that knows nothing of this tree, imported and type-checked there.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { build } from './build.ts'

const root = dirname(import.meta.dirname)
const BUILD_TIMEOUT_MS = 180_000
let project = ''

function run(program: string, args: readonly string[]): string {
  // Nothing of this project's own settings, and no network.
  const env = { PATH: process.env.PATH, HOME: project, npm_config_offline: 'true' }
  return execFileSync(program, args, { cwd: project, encoding: 'utf8', env })
}

function put(name: string, text: string): void {
  writeFileSync(join(project, name), text)
}

beforeAll(() => {
  build(root)
  project = mkdtempSync(join(tmpdir(), 'node-netlink-'))
  run('npm', ['pack', join(root, 'netlink/dist'), '--silent', '--pack-destination', project])
  const [packed = ''] = readdirSync(project).filter((name) => name.endsWith('.tgz'))
  const home = join(project, 'node_modules/@sinabro/node-netlink')
  mkdirSync(home, { recursive: true })
  run('tar', ['-xzf', packed, '-C', home, '--strip-components=1'])
  put('package.json', '{ "type": "module" }')
}, BUILD_TIMEOUT_MS)

afterAll(() => rmSync(project, { recursive: true, force: true }))

describe('the packed package', () => {
  test('holds what is needed and nothing else', () => {
    const files = readdirSync(join(project, 'node_modules/@sinabro/node-netlink'))
    expect(files.sort()).toEqual([
      'LICENSE',
      'README.md',
      'build',
      'lib',
      'native',
      'package.json',
      'types',
    ])
    expect(readdirSync(join(project, 'node_modules/@sinabro/node-netlink/lib'))).toEqual([
      'index.js',
    ])
  })

  test('is imported by a plain JavaScript project and talks to the kernel', () => {
    put(
      'main.js',
      `import { isCode, NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
      const netlink = RouteNetlink.open()
      const [lo] = await netlink.links.list()
      const error = await netlink.routes.get('nonsense').catch((reason) => reason)
      netlink.close()
      const namespace = NetworkNamespace.current()
      console.log(JSON.stringify([lo.name, lo.index, error.code, isCode(error, 'EPERM'), typeof namespace.inode]))
      namespace.close()`,
    )
    expect(JSON.parse(run(process.execPath, ['main.js']))).toEqual([
      'lo',
      1,
      'parse',
      false,
      'bigint',
    ])
  })

  test('has types that stand on their own, and catch what is wrong', () => {
    put(
      'main.ts',
      `import { attrs, type Infer, type Link, RouteNetlink, u32 } from '@sinabro/node-netlink'
      const netlink = RouteNetlink.open()
      const links: Link[] = await netlink.links.list({ kind: 'veth' })
      await netlink.routes.add({ dst: '10.0.0.0/8', index: links[0]?.index })
      const thing = attrs('thing', { size: [1, u32] })
      const value: Infer<typeof thing> = { size: 1 }
      // @ts-expect-error a size is a number
      const wrong: Infer<typeof thing> = { size: '1' }
      // @ts-expect-error there is no such verb
      netlink.routes.remove
      export { value, wrong }`,
    )
    const output = run(join(root, 'node_modules/.bin/tsc'), [
      ...['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'esnext'],
      ...['--lib', 'esnext', '--module', 'nodenext', '--types', 'node'],
      ...['--typeRoots', join(root, 'node_modules/@types'), 'main.ts'],
    ])
    expect(output).toBe('')
  }, 120_000)
})
