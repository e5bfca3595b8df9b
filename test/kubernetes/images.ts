// Images made by hand, without Docker: docker-archive files that `ctr images import` reads, with the names that upstream's specs ask for.
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { run } from '../lab/command.ts'
import { findGo } from './binaries.ts'
import { PAUSE_IMAGE } from './node-config.ts'
import { BINARIES, IMAGES } from './versions.ts'

const CREATED = '2026-01-01T00:00:00Z'
const SOURCE = import.meta.filename
const BUSYBOX = '/bin/busybox'
export const TEST_IMAGE = 'registry.k8s.io/e2e-test-images/agnhost:2.56'
const DNSUTILS_IMAGE = 'registry.k8s.io/e2e-test-images/jessie-dnsutils:1.7'

interface Image {
  readonly name: string
  readonly tags: readonly string[]
  readonly config: object
  /** Fills the root directory. */
  fill(root: string): Promise<void>
}

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const CLUSTER: readonly Image[] = [
  {
    name: 'pause',
    tags: [PAUSE_IMAGE],
    config: { Entrypoint: ['/pause'], User: '65535:65535' },
    fill: async (root) => {
      const source = join(await kubernetesSource(), 'build/pause/linux/pause.c')
      await run(['gcc', '-Os', '-static', '-s', '-DVERSION=3.10.1', '-o', `${root}/pause`, source])
    },
  },
  {
    name: 'busybox',
    tags: ['registry.k8s.io/e2e-test-images/busybox:1.37.0-1'],
    config: { Cmd: ['sh'] },
    fill: async (root) => {
      await fillBusybox(root)
      await addTools(root, ['/bin/dash', '/bin/nc.openbsd', '/usr/bin/wget'])
    },
  },
  {
    name: 'agnhost',
    tags: [TEST_IMAGE, DNSUTILS_IMAGE, 'registry.k8s.io/build-image/distroless-iptables:v0.7.14'],
    config: { Entrypoint: ['/agnhost'], Cmd: ['pause'] },
    fill: async (root) => {
      await fillBusybox(root)
      await addTools(root, [
        ...['/bin/dash', '/bin/bash', '/bin/nc.openbsd', '/bin/ss', '/bin/ip'],
        ...['curl', 'dig', 'getent', 'host', 'iperf', 'nslookup', 'wget'].map(
          (n) => `/usr/bin/${n}`,
        ),
        '/usr/sbin/conntrack',
      ])
      copyFileSync(join(BINARIES, 'agnhost'), join(root, 'agnhost'))
      symlinkSync('agnhost', join(root, 'agnhost-2'))
      copyFileSync(join(BINARIES, 'coredns'), join(root, 'coredns'))
      const porter = join(await kubernetesSource(), 'test/images/agnhost/porter')
      for (const file of ['localhost.crt', 'localhost.key']) {
        copyFileSync(join(porter, file), join(root, file))
      }
    },
  },
  {
    name: 'coredns',
    tags: ['registry.k8s.io/coredns/coredns:v1.12.4'],
    config: { Entrypoint: ['/coredns'] },
    fill: async (root) => copyBinary('coredns', root),
  },
]

const E2E: readonly Image[] = [
  {
    name: 'regression-issue-74839',
    tags: ['registry.k8s.io/e2e-test-images/regression-issue-74839:1.2'],
    config: { Entrypoint: ['/regression-issue-74839'] },
    fill: async (root) => copyBinary('regression-issue-74839', root),
  },
]

const SETS = { cluster: CLUSTER, e2e: E2E }

/** Paths of the images, made where they are older than what they are made of. */
export async function makeImages(
  set: keyof typeof SETS,
  say: (line: string) => void,
): Promise<string[]> {
  mkdirSync(IMAGES, { recursive: true })
  const archives: string[] = []
  for (const image of SETS[set]) {
    const archive = join(IMAGES, `${image.name}.tar`)
    const inputs = digestOfInputs()
    const stamp = `${archive}.inputs`
    if (!existsSync(archive) || !existsSync(stamp) || readFileSync(stamp, 'utf8') !== inputs) {
      say(`image ${image.name}`)
      await pack(image, archive)
      writeFileSync(stamp, inputs)
    }
    archives.push(archive)
  }
  return archives
}

/** This file and the binaries' own inputs: what the machine's packages bring is taken as it was at the first time. */
function digestOfInputs(): string {
  const digest = createHash('sha256').update(readFileSync(SOURCE))
  for (const name of ['agnhost', 'coredns', 'regression-issue-74839']) {
    const stamp = join(BINARIES, `${name}.inputs`)
    if (existsSync(stamp)) digest.update(readFileSync(stamp))
  }
  return digest.digest('hex')
}

async function pack(image: Image, archive: string): Promise<void> {
  const work = mkdtempSync(join(IMAGES, '.work-'))
  try {
    const root = join(work, 'root')
    mkdirSync(root)
    chmodSync(root, 0o755)
    for (const directory of ['etc', 'tmp']) mkdirSync(join(root, directory))
    chmodSync(join(root, 'tmp'), 0o1777)
    await image.fill(root)
    const layer = join(work, 'layer.tar')
    await run([
      ...['tar', '-C', root, '--sort=name', '--mtime=@0', '--owner=0', '--group=0'],
      ...['--numeric-owner', '-cf', layer, '.'],
    ])
    const diffId = `sha256:${createHash('sha256').update(readFileSync(layer)).digest('hex')}`
    writeJson(join(work, 'config.json'), {
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      created: CREATED,
      config: { Env: [PATH], ...image.config },
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [{ created: CREATED, created_by: image.name }],
    })
    writeJson(join(work, 'manifest.json'), [
      { Config: 'config.json', RepoTags: image.tags, Layers: ['layer.tar'] },
    ])
    await run([
      ...['tar', '-C', work, '-cf', `${archive}.new`],
      ...['manifest.json', 'config.json', 'layer.tar'],
    ])
    renameSync(`${archive}.new`, archive)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function kubernetesSource(): Promise<string> {
  const module = join(import.meta.dirname, 'go/kubernetes')
  const go = await findGo()
  const { stdout } = await run([
    go,
    '-C',
    module,
    'list',
    '-m',
    '-f',
    '{{.Dir}}',
    'k8s.io/kubernetes',
  ])
  return stdout.trim()
}

async function copyBinary(name: string, root: string): Promise<void> {
  copyFileSync(join(BINARIES, name), join(root, name))
}

/** Debian's static busybox with every applet as a link, and the users that specs ask for. */
async function fillBusybox(root: string): Promise<void> {
  for (const directory of ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'root', 'uploads', 'var/tmp']) {
    mkdirSync(join(root, directory), { recursive: true })
  }
  copyFileSync(BUSYBOX, join(root, 'bin/busybox'))
  const { stdout } = await run([BUSYBOX, '--list'])
  for (const applet of stdout.trim().split('\n')) {
    if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet))
  }
  const users = ['root:x:0:0::/root:/bin/sh', 'nobody:x:65534:65534::/:/bin/sh']
  users.push('user-defined-in-image:x:1000:1000::/:/bin/sh')
  const groups = ['root:x:0:', 'nogroup:x:65534:', 'user-defined-in-image:x:1000:']
  groups.push('group-defined-in-image:x:50000:user-defined-in-image')
  writeFileSync(join(root, 'etc/passwd'), `${users.join('\n')}\n`)
  writeFileSync(join(root, 'etc/group'), `${groups.join('\n')}\n`)
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\npasswd: files\ngroup: files\n')
  for (const file of ['services', 'protocols'])
    copyFileSync(`/etc/${file}`, join(root, 'etc', file))
}

/**
 * Programs of this machine with their libraries, in the place of busybox's: its sh runs its own applets before PATH, its nc has no
 * -v, and its wget crashes on -T.
 */
async function addTools(root: string, tools: readonly string[]): Promise<void> {
  for (const tool of tools) {
    rmSync(join(root, 'bin', basename(tool)), { force: true })
    await addFile(root, tool)
    const { stdout } = await run(['ldd', tool], { canFail: true })
    for (const [library] of stdout.matchAll(/\/[^ ]+/g)) await addFile(root, library)
  }
  for (const [link, target] of [
    ['sh', 'dash'],
    ['nc', 'nc.openbsd'],
  ] as const) {
    rmSync(join(root, 'bin', link), { force: true })
    symlinkSync(target, join(root, 'bin', link))
  }
}

async function addFile(root: string, path: string): Promise<void> {
  const target = join(root, path)
  mkdirSync(dirname(target), { recursive: true })
  if (existsSync(target)) rmSync(target)
  copyFileSync(path, target)
  chmodSync(target, 0o755)
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, JSON.stringify(value))
}
