// Builds Kubernetes, etcd, CoreDNS and containerd from their Go modules, one after the other, into the cache; keeps what is there.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { BINARIES, CONTAINERD_VERSION, GO_VERSION_NEEDED, KUBERNETES_VERSION } from './versions.ts'

const exec = promisify(execFile)
const MODULES = join(import.meta.dirname, 'go')
const BUILD_TIMEOUT_MS = 30 * 60_000

interface Binary {
  /** Path below BINARIES. */
  readonly name: string
  /** The wrapper module in go/ whose go.mod fixes the versions. */
  readonly module: string
  readonly package: string
  readonly isTest?: true
  /** `-X` of the linker. */
  readonly stamps?: readonly string[]
}

const [major, minor] = KUBERNETES_VERSION.split('.')
// Without these a kubelet reports v0.0.0, and version skew checks refuse it.
const kubernetesStamps = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap(
  (place) => [
    `${place}.gitVersion=v${KUBERNETES_VERSION}`,
    `${place}.gitMajor=${major}`,
    `${place}.gitMinor=${minor}`,
    `${place}.gitCommit=${'0'.repeat(40)}`,
    `${place}.gitTreeState=clean`,
    `${place}.buildDate=2026-01-01T00:00:00Z`,
  ],
)

const kubernetes = (name: string, source = `cmd/${name}`): Binary => ({
  name,
  module: 'kubernetes',
  package: `k8s.io/kubernetes/${source}`,
  stamps: kubernetesStamps,
})

const containerd = (name: string): Binary => ({
  name: join('containerd-2', name),
  module: 'containerd',
  package: `github.com/containerd/containerd/v2/cmd/${name}`,
  stamps: [`github.com/containerd/containerd/v2/version.Version=${CONTAINERD_VERSION}`],
})

/** What a cluster needs. */
const CLUSTER: readonly Binary[] = [
  kubernetes('kube-apiserver'),
  kubernetes('kube-controller-manager'),
  kubernetes('kube-scheduler'),
  kubernetes('kubelet'),
  kubernetes('kube-proxy'),
  kubernetes('kubectl'),
  kubernetes('agnhost', 'test/images/agnhost'),
  { name: 'etcd', module: 'etcd', package: 'go.etcd.io/etcd/server/v3' },
  { name: 'coredns', module: 'coredns', package: '.' },
  { name: 'kind-configurations', module: 'kind', package: '.' },
  { name: 'libcni', module: 'libcni', package: '.' },
]

/** What upstream's specs need besides. */
const E2E: readonly Binary[] = [
  { ...kubernetes('e2e.test', 'test/e2e'), isTest: true },
  {
    name: 'ginkgo',
    module: 'kubernetes',
    package: 'github.com/onsi/ginkgo/v2/ginkgo',
  },
  kubernetes('regression-issue-74839', 'test/images/regression-issue-74839'),
]

/** With a plug-in of its time: Debian's does not speak the CNI version with which a runtime asks STATUS. */
const CONTAINERD_2: readonly Binary[] = [
  containerd('containerd'),
  containerd('ctr'),
  containerd('containerd-shim-runc-v2'),
  {
    name: 'cni/portmap',
    module: 'plugins',
    package: 'github.com/containernetworking/plugins/plugins/meta/portmap',
  },
]

export const SETS = { cluster: CLUSTER, e2e: E2E, 'containerd-2': CONTAINERD_2 } as const
export type BinarySet = keyof typeof SETS

/** Builds what of these sets the cache does not have. @throws Error that says what to install, or the compiler's own words. */
export async function buildBinaries(
  sets: readonly BinarySet[],
  say: (line: string) => void,
): Promise<void> {
  const missing = sets.flatMap((set) => SETS[set]).filter((binary) => !isCurrent(binary))
  if (missing.length === 0) return
  const go = await findGo()
  say(`building ${missing.length} Go binaries into ${BINARIES} (cold: about 8 minutes)`)
  for (const binary of missing) {
    const startMs = performance.now()
    await build(go, binary)
    say(`  ${binary.name} ${((performance.now() - startMs) / 1000).toFixed(0)} s`)
  }
}

async function build(go: string, binary: Binary): Promise<void> {
  const target = join(BINARIES, binary.name)
  mkdirSync(dirname(target), { recursive: true })
  const linker = ['-s', '-w', ...(binary.stamps ?? []).flatMap((stamp) => ['-X', stamp])]
  const flags = ['-trimpath', '-ldflags', linker.join(' '), '-o', `${target}.new`]
  const verb = binary.isTest ? ['test', '-c'] : ['build']
  await exec('nice', ['-n', '15', go, ...verb, ...flags, binary.package], {
    cwd: join(MODULES, binary.module),
    env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local' },
    maxBuffer: 16 << 20,
    timeout: BUILD_TIMEOUT_MS,
  })
  renameSync(`${target}.new`, target)
  writeFileSync(`${target}.inputs`, inputs(binary))
}

function isCurrent(binary: Binary): boolean {
  const target = join(BINARIES, binary.name)
  return (
    existsSync(target) &&
    existsSync(`${target}.inputs`) &&
    readFileSync(`${target}.inputs`, 'utf8') === inputs(binary)
  )
}

/** Digest of all that decides what a binary becomes, the compiler aside. */
function inputs(binary: Binary): string {
  const digest = createHash('sha256').update(JSON.stringify(binary))
  for (const file of globSync('*', { cwd: join(MODULES, binary.module) }).sort()) {
    digest.update(readFileSync(join(MODULES, binary.module, file)))
  }
  return digest.digest('hex')
}

/** @throws Error that says what was found and what to do */
export async function findGo(): Promise<string> {
  const found: string[] = []
  for (const go of ['go', '/usr/local/go/bin/go']) {
    const version = await goVersion(go)
    if (version === undefined) continue
    if (isAtLeast(version, GO_VERSION_NEEDED)) return go
    found.push(`${go} is ${version}`)
  }
  throw new Error(
    `the test cluster is built from Go modules, and etcd's asks for Go ${GO_VERSION_NEEDED} or newer (${found.join(', ') || 'there is none'}): ` +
      'put one on PATH or into /usr/local/go, see https://go.dev/doc/install; once everything is built, no Go is needed',
  )
}

function goVersion(go: string): Promise<string | undefined> {
  const env = { ...process.env, GOTOOLCHAIN: 'local' }
  return exec(go, ['env', 'GOVERSION'], { env })
    .then(({ stdout }) => stdout.trim().replace(/^go/, ''))
    .catch(() => undefined)
}

export function isAtLeast(version: string, needed: string): boolean {
  const [a = 0, b = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  const [c = 0, d = 0] = needed.split('.').map(Number)
  return a > c || (a === c && b >= d)
}
