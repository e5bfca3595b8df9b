// Lays out the file systems of the image's two layers in folders, from the lists: files, the libraries they need, and every licence.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { FOLDERS, FOREIGN, type Item, LINKED, NATIVE, OBJECTS, OWN, WRITTEN } from './contents.ts'
import { packageLicences } from './licences.ts'

export interface Layers {
  readonly foreign: string
  readonly own: string
}

/** `root` is the tree, with everything built. @throws if something of the lists is not there, with what to do */
export function layOut(root: string, into: string): Layers {
  rmSync(into, { recursive: true, force: true })
  const layers = { foreign: join(into, 'foreign'), own: join(into, 'own') }
  buildNative(root)
  const objects = globSync(OBJECTS.pattern, { cwd: root }).sort()
  const own = [...OWN, ...objects.map((from) => ({ from, to: `${OBJECTS.to}/${basename(from)}` }))]
  const foreign = [...FOREIGN, ...LINKED.flatMap((file) => librariesOf(resolve(root, file)))]
  for (const item of foreign) put(root, layers.foreign, item)
  for (const item of own) put(root, layers.own, item)
  putText(layers.own, '/usr/share/doc/sinabro/NOTICE', packageLicences(root))
  for (const [path, text] of Object.entries(WRITTEN)) putText(layers.own, path, text)
  for (const folder of FOLDERS) mkdirSync(join(layers.foreign, folder), { recursive: true })
  // Runtimes name pods' namespaces by the older path: /var/run/netns/….
  symlinkSync('../run', join(layers.foreign, 'var/run'))
  copyDebianLicences(layers.foreign, foreign)
  put(root, layers.foreign, nodeLicence(root))
  normalise(into)
  return layers
}

function nodeLicence(root: string): Item {
  const [from] = globSync('node_modules/node/node_modules/node-linux-*/LICENSE', { cwd: root })
  if (from === undefined) throw new Error("Node's licence is not where it was; run npm ci")
  return { from, to: '/usr/share/doc/node/LICENSE' }
}

function buildNative(root: string): void {
  const folder = join(root, 'deploy/image/build')
  mkdirSync(folder, { recursive: true })
  for (const { source, name } of NATIVE) {
    const flags = ['-std=gnu11', '-Os', '-s', '-static', '-Wall', '-Wextra', '-Werror']
    const input = join(root, 'deploy/image/native', source)
    execFileSync('gcc', [...flags, '-o', join(folder, name), input], { stdio: 'inherit' })
  }
}

function put(root: string, layer: string, { from, to, isExecutable }: Item): void {
  const source = resolve(root, from)
  if (!existsSync(source)) {
    throw new Error(`${from} is not there: 'npm run image' builds and installs all that it needs`)
  }
  const target = join(layer, to)
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(source, target)
  chmodSync(target, isExecutable ? 0o755 : 0o644)
}

function putText(layer: string, path: string, text: string): void {
  mkdirSync(dirname(join(layer, path)), { recursive: true })
  writeFileSync(join(layer, path), text)
}

/** At the paths at which the loader looks for them. */
function librariesOf(file: string): Item[] {
  const said = execFileSync('ldd', [file], { encoding: 'utf8' })
  return said.split('\n').flatMap((line) => {
    if (line.includes('not found')) throw new Error(`${file}: ${line.trim()}`)
    const path = /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1]
    return path === undefined ? [] : [{ from: path, to: path, isExecutable: true }]
  })
}

function copyDebianLicences(layer: string, items: readonly Item[]): void {
  const files = items.map(({ from }) => from).filter((from) => from.startsWith('/'))
  for (const name of new Set(files.map(debianPackageOf))) {
    const item = { from: `/usr/share/doc/${name}/copyright` }
    put('/', layer, { ...item, to: item.from })
  }
  const folder = '/usr/share/common-licenses'
  for (const name of readdirSync(folder)) {
    put('/', layer, { from: `${folder}/${name}`, to: `${folder}/${name}` })
  }
}

/** Debian's database knows a file of /usr/lib by its older name /lib, or by its present one. */
function debianPackageOf(file: string): string {
  const real = realpathSync(file)
  for (const path of [file, real, real.replace(/^\/usr/, '')]) {
    try {
      const said = execFileSync('dpkg', ['-S', path], { encoding: 'utf8', stdio: 'pipe' })
      return said.split(':')[0] ?? ''
    } catch {
      // Not by this name.
    }
  }
  throw new Error(`${file} belongs to no Debian package, so that its licence is not known`)
}

/** The same bytes whatever the umask of who builds. */
function normalise(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isDirectory()) chmodSync(join(entry.parentPath, entry.name), 0o755)
  }
  for (const tmp of globSync('*/tmp', { cwd: folder })) chmodSync(join(folder, tmp), 0o1777)
  for (const path of Object.keys(WRITTEN)) chmodSync(join(folder, 'own', path), 0o644)
  chmodSync(join(folder, 'own/usr/share/doc/sinabro/NOTICE'), 0o644)
}
