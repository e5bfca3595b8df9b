// Turns a Debian kernel package into what qemu boots (kernel, initrd, modules), once, in a cache outside the tree.
import { execFileSync, type StdioOptions } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
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

/** Newest package of the archive, or of the cache where the archive is out of reach. */
export function prepare(kernel: Kernel): BootFiles {
  const cache = cacheDir()
  mkdirSync(cache, { recursive: true })
  const packageName = newest(archiveNames(), kernel) ?? newest(readdirSync(cache), kernel)
  if (packageName === undefined) {
    throw new Error(`no package of kernel ${kernel.name} in Debian's lists; run apt-get update`)
  }
  const dir = join(cache, packageName)
  if (!existsSync(dir)) {
    console.log(`fetching ${packageName} (kept in ${cache})`)
    const draft = mkdtempSync(join(cache, '.draft-'))
    try {
      unpack(packageName, draft)
      renameSync(draft, dir)
    } finally {
      rmSync(draft, { recursive: true, force: true })
    }
  }
  const files = bootFiles(packageName, dir)
  if (!existsSync(files.initrd)) makeInitrd(files)
  return files
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
  mkdirSync(root)
  chmodSync(dir, 0o755) // apt's own user writes the download
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

function makeInitrd({ release, modules, initrd }: BootFiles): void {
  const tree = mkdtempSync(`${initrd}.draft-`)
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
  const pack = 'find . | cpio -o -H newc --quiet | gzip -1 >"$0.new" && mv "$0.new" "$0"'
  run('sh', ['-c', pack, initrd], tree)
  rmSync(tree, { recursive: true })
}

function run(program: string, args: readonly string[], cwd?: string): string {
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe']
  return execFileSync(program, args, { stdio, encoding: 'utf8', cwd, maxBuffer: 1 << 26 })
}
