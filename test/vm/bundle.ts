// Puts a suite of test files into one module: in emulation every file that Node opens, strips and compiles costs.
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { type Suite, VERIFIER } from './suites.ts'

export const TREE = dirname(dirname(import.meta.dirname))
const GUEST = join(import.meta.dirname, 'guest')
const VERIFIER_SOURCE = `import { loadObjects } from '${GUEST}/load-objects.ts'
await loadObjects('${TREE}/bpf/build')`

export function filesOf({ files, without = [] }: Suite): string[] {
  const left = new Set(globSync([...without], { cwd: TREE }))
  return globSync([...files], { cwd: TREE })
    .filter((file) => !left.has(file))
    .sort()
}

/** Makes `NAME.mjs` and its settings `NAME.env` in a folder that guests see. */
export async function bundleSuite(suite: Suite, folder: string): Promise<void> {
  const { name, env = {} } = suite
  const outfile = join(folder, `${name}.mjs`)
  if (name === VERIFIER) await bundle(VERIFIER_SOURCE, outfile)
  else await bundleFiles(suite, outfile)
  const exports = Object.entries(env).map(([key, value]) => `export ${key}='${value}'\n`)
  writeFileSync(join(folder, `${name}.env`), exports.join(''))
}

async function bundleFiles(suite: Suite, outfile: string): Promise<void> {
  const files = filesOf(suite)
  if (files.length === 0) throw new Error(`no file matches ${suite.files.join(' ')}`)
  const loads = files.map(
    (file) => `{ path: '${file}', load: () => import('${join(TREE, file)}') },`,
  )
  await bundle(
    `import { runFiles } from '${GUEST}/run-files.ts'
await runFiles([${loads.join('\n')}], ${suite.only ?? 'undefined'})
process.exit(0) // what a test left open does not hold up the rest`,
    outfile,
  )
}

/** The module `source`, with all it imports. */
async function bundle(source: string, outfile: string): Promise<void> {
  await build({
    stdin: { contents: source, resolveDir: import.meta.dirname, loader: 'ts' },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url)",
    },
    plugins: [standIn, ownPlaces],
  })
}

/** Tests get the guest's `vitest`, and that one the real. */
const standIn: Plugin = {
  name: 'stand-in',
  setup(all) {
    all.onResolve({ filter: /^vitest$/ }, ({ importer }) =>
      importer.startsWith(GUEST) ? undefined : { path: join(GUEST, 'vitest.ts') },
    )
  },
}

/** A module goes on knowing where it came from: it finds files beside itself, on the shared root. */
const ownPlaces: Plugin = {
  name: 'own-places',
  setup(all) {
    all.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const url = pathToFileURL(path).href
      const contents = readFileSync(path, 'utf8')
        .replaceAll(/import\.meta\.resolve\('([^']+)'\)/g, (_, name: string) =>
          JSON.stringify(
            name.startsWith('.') ? new URL(name, url).href : import.meta.resolve(name),
          ),
        )
        .replaceAll('import.meta.dirname', JSON.stringify(dirname(path)))
        .replaceAll('import.meta.filename', JSON.stringify(path))
        .replaceAll('import.meta.url', JSON.stringify(url))
        .replaceAll('import.meta.main', 'false')
      return { contents, loader: 'ts' }
    })
  },
}
