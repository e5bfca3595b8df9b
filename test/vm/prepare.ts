// Turns a Debian kernel package into what qemu boots (kernel, initrd, modules), once, in a cache outside the tree.
import { execFileSync, type StdioOptions } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import type { Kernel } from './kernels.ts'
import { makeScratch, removeScratch, sweepScratch } from './scratch.ts'

export interface BootFiles {
  readonly packageName: string
  /** What `uname -r` will say. */
  readonly release: string
  readonly kernel: string
  readonly initrd: string
  readonly modules: string
}

/** Modules the initrd needs to reach the root: a 9p share under an overlay. */
const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay']
/** busybox applets that guest-init.sh calls. */
const APPLETS = ['sh', 'mount', 'insmod', 'mkdir', 'switch_root', 'cat', 'echo', 'poweroff', 'sed']

export function cacheDir(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'sinabro', 'vm')
}

/** Unpacked, with modules. */
const ROOM = '600 MiB'

/**
 * Newest package of the archive, or of the cache where the archive is out of reach. Runs side by side may both unpack one; the first
 * to be done is taken.
 */
export function prepare(kernel: Kernel, cache = cacheDir()): BootFiles {
  try {
    mkdirSync(cache, { recursive: true })
    sweepScratch(cache)
    return prepareIn(kernel, cache)
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause)
    if (!/ENOSPC|No space left/i.test(text)) throw cause
    const advice = `free about ${ROOM}, or set XDG_CACHE_HOME to a folder with room`
    throw new Error(`no room in ${cache} for kernel ${kernel.name}: ${advice}`, { cause })
  }
}

function prepareIn(kernel: Kernel, cache: string): BootFiles {
  const cached = newest(readdirSync(cache), kernel)
  let packageName = newest(archiveNames(), kernel) ?? cached
  if (packageName === undefined) {
    throw new Error(
      `no package like ${kernel.packages.source} (kernel ${kernel.name}) in Debian's lists, none in ${cache}; ` +
        'apt-get update, with the archives of Debian 12 and its updates in the sources',
    )
  }
  if (!existsSync(join(cache, packageName))) {
    console.log(`fetching ${packageName} (kept in ${cache})`)
    try {
      fill(cache, packageName, (draft) => unpack(packageName as string, draft))
    } catch (error) {
      if (cached === undefined || !/apt-get/.test(String(error))) throw error
      console.log(`${packageName} cannot be fetched; going on with ${cached}`)
      packageName = cached
    }
  }
  const dir = join(cache, packageName)
  const files = bootFiles(packageName, dir)
  if (!existsSync(files.initrd))
    fill(dir, basename(files.initrd), (draft) => makeInitrd(files, draft))
  return files
}

/** Makes `dir/name` whole or not at all, by way of a draft that the next run removes if this one does not live to. */
function fill(dir: string, name: string, make: (draft: string) => void): void {
  const scratch = makeScratch(dir)
  try {
    const draft = join(scratch, name)
    make(draft)
    renameSync(draft, join(dir, name))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error // somebody else was first
  } finally {
    removeScratch(scratch)
  }
}

function archiveNames(): string[] {
  const names = (): string[] => run('apt-cache', ['pkgnames', 'linux-image-']).split('\n')
  const found = names()
  if (found.length > 1 || process.getuid?.() !== 0) return found
  run('apt-get', ['update', '-qq'])
  return names()
}

function newest(names: readonly string[], kernel: Kernel): string | undefined {
  const byVersion = new Intl.Collator('en', { numeric: true }).compare
  return names
    .filter((name) => kernel.packages.test(name))
    .sort(byVersion)
    .at(-1)
}

function unpack(packageName: string, dir: string): void {
  const root = join(dir, 'root')
  mkdirSync(root, { recursive: true })
  run('apt-get', ['download', '-qq', packageName], dir)
  const [archive] = globSync('*.deb', { cwd: dir })
  if (archive === undefined) throw new Error(`apt-get downloaded no ${packageName}`)
  run('dpkg', ['-x', join(dir, archive), root])
  rmSync(join(dir, archive))
  const { release, modules } = bootFiles(packageName, dir)
  run('depmod', ['-b', baseOf(modules), release])
}

/** The folder that depmod and modprobe take for the root. */
function baseOf(modules: string): string {
  return modules.slice(0, modules.lastIndexOf('/lib/modules/'))
}

function bootFiles(packageName: string, dir: string): BootFiles {
  const [modules] = globSync(['root/lib/modules/*', 'root/usr/lib/modules/*'], { cwd: dir })
  const [kernel] = globSync('root/boot/vmlinuz-*', { cwd: dir })
  if (modules === undefined || kernel === undefined) {
    throw new Error(`${dir} has no kernel or no modules; remove it and try again`)
  }
  return {
    packageName,
    release: basename(modules),
    kernel: join(dir, kernel),
    initrd: join(dir, `initrd-${recipe()}`),
    modules: join(dir, modules),
  }
}

/** An initrd made by another version of these files is not used. */
function recipe(): string {
  const hash = createHash('sha256')
  for (const file of ['prepare.ts', 'guest-init.sh']) {
    hash.update(readFileSync(join(import.meta.dirname, file)))
  }
  return hash.digest('hex').slice(0, 12)
}

function makeInitrd({ release, modules }: BootFiles, initrd: string): void {
  const tree = `${initrd}.tree`
  mkdirSync(tree)
  for (const folder of ['bin', 'modules', 'proc', 'sys', 'dev', 'new', 'low', 'rw']) {
    mkdirSync(join(tree, folder))
  }
  copyFileSync('/bin/busybox', join(tree, 'bin/busybox'))
  for (const applet of APPLETS) symlinkSync('busybox', join(tree, 'bin', applet))
  const load = new Set<string>()
  for (const module of MODULES) {
    const options = ['-d', baseOf(modules), '-S', release, '--show-depends', module]
    for (const line of run('modprobe', options).split('\n')) {
      const [verb, file] = line.trim().split(' ')
      if (verb !== 'insmod' || file === undefined) continue
      const name = basename(file, '.xz')
      load.add(name)
      const copy = file.endsWith('.xz') ? 'xz -dc "$0" >"$1"' : 'cp "$0" "$1"'
      run('sh', ['-c', copy, file, join(tree, 'modules', name)])
    }
  }
  writeFileSync(join(tree, 'load'), `${[...load].join('\n')}\n`)
  copyFileSync(join(import.meta.dirname, 'guest-init.sh'), join(tree, 'init'))
  chmodSync(join(tree, 'init'), 0o755)
  const pack = 'set -e; find . | cpio -o -H newc --quiet >"$0.cpio"; gzip -1 <"$0.cpio" >"$0"'
  run('sh', ['-c', pack, initrd], tree)
}

function run(program: string, args: readonly string[], cwd?: string): string {
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe']
  return execFileSync(program, args, { stdio, encoding: 'utf8', cwd, maxBuffer: 1 << 26 })
}
