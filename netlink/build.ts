// Builds netlink/dist: the package as it is used outside this tree. One JavaScript file, types, the addon, its sources, README.
import {
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { runStep, type Step } from '../setup/step.ts'

const dist = 'netlink/dist'
const bundle = `${dist}/lib/index.js`
const types = `${dist}/types`
const addon = 'netlink/build/netlink.node'
const sources = ['netlink/src/**/*.ts', 'netlink/build.ts', 'package-lock.json']

const bundleStep: Step = {
  output: bundle,
  inputs: sources,
  command: [
    'node_modules/.bin/esbuild',
    'netlink/src/index.ts',
    '--bundle',
    '--platform=node',
    '--target=node24',
    '--format=esm',
    '--log-level=warning',
    `--outfile=${bundle}`,
  ],
}

const typesStep: Step = {
  output: `${types}/index.d.ts`,
  inputs: [...sources, 'tsconfig.json'],
  command: [
    'node_modules/.bin/tsc',
    '--ignoreConfig',
    'netlink/src/index.ts',
    ...['--declaration', '--emitDeclarationOnly', '--outDir', types, '--rootDir', 'netlink/src'],
    ...['--target', 'esnext', '--module', 'nodenext', '--types', 'node', '--skipLibCheck'],
    ...['--strict', '--exactOptionalPropertyTypes', '--allowImportingTsExtensions'],
  ],
}

/** Makes what is out of date and says what it made. The addon must have been built. */
export function build(root: string): string[] {
  if (!existsSync(join(root, addon))) throw new Error(`${addon} is not built`)
  const made = runStep(root, bundleStep) ? [bundle] : []
  if (runStep(root, typesStep)) {
    for (const file of globSync(`${types}/**/*.d.ts`, { cwd: root })) nameAsJavaScript(root, file)
    made.push(types)
  }
  writeFileSync(join(root, dist, 'package.json'), manifest(root))
  copy(root, addon, `${dist}/build/netlink.node`)
  copy(root, 'netlink/README.md', `${dist}/README.md`)
  copy(root, 'LICENSE', `${dist}/LICENSE`)
  rmSync(join(root, dist, 'native'), { recursive: true, force: true })
  cpSync(join(root, 'netlink/native'), join(root, dist, 'native'), { recursive: true })
  return made
}

/** tsc leaves the imports of our sources, which end in `.ts`, as they are; a package's types have to say `.js`. */
function nameAsJavaScript(root: string, file: string): void {
  const path = join(root, file)
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replaceAll(/(['"]\.[^'"\n]*)\.ts(['"])/g, '$1.js$2'))
}

function manifest(root: string): string {
  const { name, version, description, license } = JSON.parse(
    readFileSync(join(root, 'netlink/package.json'), 'utf8'),
  )
  const shipped = {
    ...{ name, version, description, license },
    type: 'module',
    exports: { '.': { types: './types/index.d.ts', default: './lib/index.js' } },
    engines: { node: '>=24' },
    os: ['linux'],
    cpu: [process.arch],
    files: ['lib/*.js', 'types/**/*.d.ts', 'build', 'native'],
  }
  return `${JSON.stringify(shipped, null, 2)}\n`
}

function copy(root: string, from: string, to: string): void {
  mkdirSync(dirname(join(root, to)), { recursive: true })
  copyFileSync(join(root, from), join(root, to))
}

if (import.meta.main) {
  for (const output of build(dirname(import.meta.dirname))) console.log(`built ${output}`)
}
