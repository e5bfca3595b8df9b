// Kubernetes' own tests against the cluster, by upstream's binary; results are read from its junit files.
import { createWriteStream, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { closed } from '../lab/command.ts'
import { buildBinaries } from './binaries.ts'
import type { Cluster } from './cluster.ts'
import { makeImages } from './images.ts'
import { ADMIN_CONFIG, LOGS } from './places.ts'
import { BINARIES } from './versions.ts'

export const CONFORMANCE = String.raw`\[sig-network\].*\[Conformance\]`

export interface E2eOptions {
  /** Regular expressions over the specs' full names. */
  readonly focus: string
  readonly skip?: string | undefined
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

/** Runs them; what they print is in logs/e2e/output.log. @throws Error when no spec ran */
export async function runE2e(cluster: Cluster, options: E2eOptions): Promise<SpecResult[]> {
  rmSync(REPORT, { recursive: true, force: true })
  mkdirSync(REPORT, { recursive: true })
  const log = createWriteStream(join(REPORT, 'output.log'))
  const child = cluster.control.machine.spawn(
    [
      // ginkgo cannot start in /.
      ...['env', '-C', REPORT, 'nice', join(BINARIES, 'ginkgo'), `--procs=${options.processes}`],
      ...['--focus', options.focus, ...(options.skip ? ['--skip', options.skip] : [])],
      ...['--no-color', '-v', '--timeout=60m', join(BINARIES, 'e2e.test'), '--'],
      ...['--provider=skeleton', `--kubeconfig=${ADMIN_CONFIG}`],
      ...[`--kubectl-path=${join(BINARIES, 'kubectl')}`, `--report-dir=${REPORT}`],
      ...['--dump-logs-on-failure=false', '--disable-log-dump=true'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  child.stdout?.pipe(log, { end: false })
  child.stderr?.pipe(log, { end: false })
  options.signal?.addEventListener('abort', () => child.kill(), { once: true })
  await closed(child)
  log.end()
  const results = globSync(join(REPORT, 'junit*.xml')).flatMap((file) =>
    parseJunit(readFileSync(file, 'utf8')),
  )
  if (results.length === 0) {
    throw new Error(`no spec matches ${options.focus}, or none could run: ${REPORT}/output.log`)
  }
  return results
}

/** The specs that ran, of ginkgo's report; its set-up steps are left out unless they failed. */
export function parseJunit(xml: string): SpecResult[] {
  const results: SpecResult[] = []
  for (const [, attributes = '', body = ''] of xml.matchAll(
    /<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs,
  )) {
    const name = unescapeXml(/name="([^"]*)"/.exec(attributes)?.[1] ?? '')
    const seconds = Number(/time="([^"]*)"/.exec(attributes)?.[1] ?? 0)
    const failure = /<(?:failure|error)[^>]*?message="([^"]*)"/.exec(body)?.[1]
    if (/<skipped/.test(body)) continue
    if (failure !== undefined) results.push({ name, seconds, failure: unescapeXml(failure) })
    else if (name.startsWith('[It] ')) results.push({ name, seconds })
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
