// Kubernetes' own tests against the cluster, by upstream's binary; results are read from its junit files.
import { createWriteStream, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { closed } from '../lab/command.ts'
import { buildBinaries } from './binaries.ts'
import type { Cluster } from './cluster.ts'
import { makeImages } from './images.ts'
import { ADMIN_CONFIG, LOGS } from './places.ts'
import { BINARIES } from './versions.ts'

/** Specs by regular expressions over their full names. */
export interface Specs {
  readonly focus: string
  readonly skip?: string | undefined
  /** How many of them run at this Kubernetes version; fewer is a failure of its own. */
  readonly count?: number
}

export const CONFORMANCE = {
  focus: String.raw`\[sig-network\].*\[Conformance\]`,
  count: 45,
} as const

/**
 * All others of the network that a cluster of this kind can pass: no policy, load balancer, SCTP or Internet; none that reads the output
 * of an iperf2 of another version, or a setting of kube-proxy's connection tracking. Asks for both families.
 */
export const WIDER = {
  focus: String.raw`\[sig-network\]`,
  skip: [
    ...[String.raw`\[Conformance\]`, String.raw`\[Serial\]`, String.raw`\[Disruptive\]`],
    ...[String.raw`\[Slow\]`, 'Netpol', 'LoadBalancers', 'SCTP', 'Networking-IPv'],
    ...['Networking-DNS', 'Provider:GCE', 'OffByDefault', 'PerformanceDNS'],
    ...['Feature:Ingress', 'NFAcct', 'IPerf2', 'should set TCP CLOSE_WAIT timeout'],
  ].join('|'),
  count: 98,
} as const

export interface E2eOptions {
  readonly specs: Specs
  readonly processes: number
  readonly signal?: AbortSignal
}

export interface SpecResult {
  readonly name: string
  readonly seconds: number
  readonly failure?: string
}

/** Upstream's binaries, and the paths of the images that only their specs use. */
export async function makeE2eParts(say: (line: string) => void): Promise<string[]> {
  await buildBinaries(['e2e'], say)
  return await makeImages('e2e', say)
}

const REPORT = join(LOGS, 'e2e')

/** Runs them; what they print is in logs/e2e/output.log. That fewer ran than should have is a result too. */
export async function runE2e(
  cluster: Cluster,
  { specs, processes, signal }: E2eOptions,
): Promise<SpecResult[]> {
  rmSync(REPORT, { recursive: true, force: true })
  mkdirSync(REPORT, { recursive: true })
  const log = createWriteStream(join(REPORT, 'output.log'))
  const child = cluster.control.machine.spawn(
    [
      // ginkgo cannot start in /.
      ...['env', '-C', REPORT, 'nice', join(BINARIES, 'ginkgo'), `--procs=${processes}`],
      ...['--focus', specs.focus, ...(specs.skip ? ['--skip', specs.skip] : [])],
      ...['--no-color', '-v', '--timeout=60m', join(BINARIES, 'e2e.test'), '--'],
      ...['--provider=skeleton', `--kubeconfig=${ADMIN_CONFIG}`],
      ...[`--kubectl-path=${join(BINARIES, 'kubectl')}`, `--report-dir=${REPORT}`],
      // Without it specs that want two nodes leave themselves out.
      `--num-nodes=${cluster.nodes.length}`,
      ...['--dump-logs-on-failure=false', '--disable-log-dump=true'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  child.stdout?.pipe(log, { end: false })
  child.stderr?.pipe(log, { end: false })
  signal?.addEventListener('abort', () => child.kill(), { once: true })
  const status = await closed(child)
  log.end()
  const results = globSync(join(REPORT, 'junit*.xml')).flatMap((file) =>
    parseJunit(readFileSync(file, 'utf8')),
  )
  return [...results, ...missing(results, status, specs)]
}

/** A run that was cut short names no failure: its specs are just not there. */
export function missing(
  results: readonly SpecResult[],
  status: number,
  { focus, count = 1 }: Specs,
): SpecResult[] {
  const hasFailed = results.some(({ failure }) => failure !== undefined)
  const isShort = results.length < count
  if (!isShort && (status === 0 || hasFailed)) return []
  const failure = isShort
    ? `${results.length} specs ran and at least ${count} should have: ${REPORT}/output.log`
    : `ginkgo ended with ${status}, and no spec failed: ${REPORT}/output.log`
  return [{ name: `all specs of ${focus}`, seconds: 0, failure }]
}

/** The specs that ran, of ginkgo's report; its set-up steps are left out unless they failed. */
export function parseJunit(xml: string): SpecResult[] {
  const results: SpecResult[] = []
  for (const [, attributes = '', body = ''] of xml.matchAll(
    /<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs,
  )) {
    const name = unescapeXml(/name="([^"]*)"/.exec(attributes)?.[1] ?? '')
    const seconds = Number(/time="([^"]*)"/.exec(attributes)?.[1] ?? 0)
    if (/<skipped/.test(body)) continue
    const failed = /<(?:failure|error)\b([^>]*)>([^<]*)/.exec(body)
    if (failed !== null) {
      const said = /message="([^"]+)"/.exec(failed[1] ?? '')?.[1] ?? failed[2] ?? ''
      results.push({ name, seconds, failure: unescapeXml(said).trim() })
    } else if (name.startsWith('[It] ')) results.push({ name, seconds })
  }
  return results
}

function unescapeXml(text: string): string {
  const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
  return text.replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (whole, decimal, hex, entity) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal))
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    return entities[entity] ?? whole
  })
}
