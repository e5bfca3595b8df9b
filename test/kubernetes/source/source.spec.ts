// The Kubernetes source and a real API server: lists, watches, outages, lost history, missing rules, other certificates, a thousand nodes.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Cluster, createCluster } from '@sinabro/agent/cluster/cluster.ts'
import { serviceAccount } from '@sinabro/agent/cluster/kubernetes/credentials.ts'
import { readKubeconfig } from '@sinabro/agent/cluster/kubernetes/kubeconfig.ts'
import { KubernetesSource } from '@sinabro/agent/cluster/kubernetes/source.ts'
import { Watcher } from '@sinabro/agent/cluster/kubernetes/watcher.ts'
import { systemClock } from '@sinabro/agent/runtime/clock.ts'
import { Health } from '@sinabro/agent/runtime/health.ts'
import { Jobs } from '@sinabro/agent/runtime/jobs.ts'
import { silentLog } from '@sinabro/agent/runtime/log.ts'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { eventually } from '../../lab/eventually.ts'
import { type Cable, missing, TestApiServer } from './api-server.ts'

const why = missing()
if (why !== undefined) console.log(`skipped: ${why}`)
const DEADLINE_MS = 30_000
const RULES = '/apis/rbac.authorization.k8s.io/v1'

let server: TestApiServer
let cable: Cable
let stateDir: string
let running: Agent[] = []

/** What an agent has of the source, without its other rooms. */
interface Agent {
  readonly cluster: Cluster
  readonly source: KubernetesSource
  readonly health: Health
  readonly jobs: Jobs
}

function start(
  servers: readonly string[] = [cable.url],
  more: { readonly silentMs?: number } = {},
): Agent {
  const health = new Health(systemClock)
  const jobs = new Jobs({
    ...{ log: silentLog, health, clock: systemClock },
    backoff: { firstMs: 20, longestMs: 200 },
  })
  const cluster = createCluster()
  const source = new KubernetesSource({
    ...{ servers, credentials: serviceAccount(server.agent), nodeName: 'n1', stateDir, cluster },
    ...{ userAgent: 'sinabro/test', clock: systemClock, log: silentLog },
    needs: { services: true, endpointSlices: true, namespaces: true },
    ...{ listWithinMs: 2000, saveEveryMs: 10, ...more },
  })
  source.start(jobs)
  const agent = { cluster, source, health, jobs }
  running.push(agent)
  return agent
}

const names = ({ cluster }: Agent): string =>
  cluster.nodes
    .values()
    .map((n) => n.name)
    .sort()
    .join()
const until = (what: string, holds: () => unknown): Promise<unknown> =>
  eventually(what, () => Boolean(holds()) || undefined, DEADLINE_MS)
const lists = ({ source }: Agent, resource = 'nodes'): number =>
  source.api.traffic
    .requests()
    .filter((row) => row.verb === 'list' && row.resource === resource && row.code === 200)
    .reduce((sum, { count }) => sum + count, 0)
/** Of each kind that was listed the watch has begun: no request is under way. */
const follows = ({ source }: Agent): boolean => {
  const rows = source.api.traffic.requests().filter(({ code }) => code === 200)
  const of = (verb: string) => rows.filter((row) => row.verb === verb).map((row) => row.resource)
  return of('list').every((resource) => of('watch').includes(resource))
}
const complaint = ({ health }: Agent): string =>
  health
    .snapshot()
    .components.map(({ message }) => message ?? '')
    .join('\n')

async function makeNode(name: string, podCIDR: string): Promise<void> {
  const metadata = { name, labels: { zone: 'z' } }
  await server.ask('POST', '/api/v1/nodes', { metadata, spec: { podCIDR, podCIDRs: [podCIDR] } })
  const status = { addresses: [{ type: 'InternalIP', address: '192.0.2.7' }] }
  await server.ask('PATCH', `/api/v1/nodes/${name}/status`, { status })
}

async function makePod(name: string, nodeName: string): Promise<void> {
  const containers = [{ name: 'c', image: 'none' }]
  const metadata = { name, labels: { app: name } }
  const pod = { metadata, spec: { nodeName, containers } }
  await server.ask('POST', '/api/v1/namespaces/default/pods', pod)
}

/** The rules that the manifest gives, so that a missing one is found here. */
async function applyRules(): Promise<void> {
  const file = new URL('../../../deploy/sinabro.yaml', import.meta.url)
  for (const document of parseAllDocuments(readFileSync(file, 'utf8'))) {
    const object = document.toJS() as { kind: string } | null
    if (object?.kind === 'ClusterRole') await server.ask('POST', `${RULES}/clusterroles`, object)
    if (object?.kind === 'ClusterRoleBinding') {
      await server.ask('POST', `${RULES}/clusterrolebindings`, object)
    }
  }
}

if (why === undefined) {
  beforeAll(async () => {
    server = new TestApiServer()
    await server.start()
    await applyRules()
  })
  afterAll(() => server.close())
  beforeEach(async () => {
    stateDir = mkdtempSync(join(tmpdir(), 'sinabro-source-'))
    cable = await server.cable()
    await server.ask('DELETE', '/api/v1/nodes')
    await server.ask('DELETE', '/api/v1/namespaces/default/pods?gracePeriodSeconds=0')
    await makeNode('n1', '10.0.1.0/24')
    await makeNode('n2', '10.0.2.0/24')
  })
  afterEach(async () => {
    for (const { jobs, source } of running) {
      await jobs.stop()
      source.api.close()
    }
    running = []
    rmSync(stateDir, { recursive: true })
  })
}

test.skipIf(why)('lists, then follows what is made, changed and deleted', async () => {
  await makePod('mine', 'n1')
  await makePod('other', 'n2')
  const agent = start()
  await until('both lists', () => agent.cluster.nodes.isReady && agent.cluster.pods.isReady)
  expect(agent.cluster.nodes.get('n2')).toMatchObject({
    podCIDRs: ['10.0.2.0/24'],
    internalIPs: ['192.0.2.7'],
    labels: { zone: 'z' },
  })
  expect(agent.cluster.pods.values()).toMatchObject([
    { namespace: 'default', name: 'mine', nodeName: 'n1', labels: { app: 'mine' } },
  ])
  await makeNode('n3', '10.0.3.0/24')
  await makePod('later', 'n1')
  await until(
    'the new ones',
    () => agent.cluster.pods.has('default/later') && names(agent) === 'n1,n2,n3',
  )
  await server.ask('PATCH', '/api/v1/nodes/n3', { metadata: { labels: { zone: 'y' } } })
  await until('the label', () => agent.cluster.nodes.get('n3')?.labels.zone === 'y')
  await server.ask('DELETE', '/api/v1/nodes/n3')
  await server.ask('DELETE', '/api/v1/namespaces/default/pods/mine?gracePeriodSeconds=0')
  await until(
    'them to go',
    () => !agent.cluster.pods.has('default/mine') && names(agent) === 'n1,n2',
  )
  expect(lists(agent)).toBe(1)
  expect(agent.health.snapshot().isHealthy).toBe(true)
})

test.skipIf(why)('goes on after a cut where it was, without a full list', async () => {
  const agent = start()
  await until('the list', () => names(agent) === 'n1,n2')
  await cable.cut()
  await until('it to notice', () => !agent.health.snapshot().isHealthy)
  await makeNode('n3', '10.0.3.0/24')
  expect(names(agent)).toBe('n1,n2')
  await cable.open()
  await until('what it missed', () => names(agent) === 'n1,n2,n3')
  await until('health', () => agent.health.snapshot().isHealthy)
  // The second is one object long: only to see that history is the same.
  expect(lists(agent)).toBe(2)
})

test.skipIf(why)('gives up a watch on which nothing comes any more', async () => {
  const agent = start([cable.url], { silentMs: 3000 })
  await until('the watches', () => names(agent) === 'n1,n2' && follows(agent))
  cable.freeze()
  await makeNode('n3', '10.0.3.0/24')
  await until('what it missed', () => names(agent) === 'n1,n2,n3')
})

test.skipIf(why)('lists again when the server has forgotten what happened since', async () => {
  const agent = start()
  await until('the list', () => names(agent) === 'n1,n2')
  await cable.cut()
  await server.ask('DELETE', '/api/v1/nodes/n2')
  await makeNode('n3', '10.0.3.0/24')
  await server.stopApiServer()
  await server.startApiServer()
  await cable.open()
  await until('the present', () => names(agent) === 'n1,n3')
})

test.skipIf(why)(
  'starts from the snapshot while no server answers, and from a server when one does',
  async () => {
    await makePod('mine', 'n1')
    const before = start()
    await until('the snapshot', () => {
      const text = readSnapshotText()
      return text.includes('"n2"') && text.includes('"mine"')
    })
    await before.jobs.stop()
    await cable.cut()
    await server.ask('DELETE', '/api/v1/nodes/n2')
    const agent = start()
    await until('tables', () => agent.cluster.nodes.isReady && agent.cluster.pods.isReady)
    expect(names(agent)).toBe('n1,n2')
    expect(agent.cluster.pods.has('default/mine')).toBe(true)
    expect(complaint(agent)).toContain('ECONNREFUSED')
    await cable.open()
    await until('the present', () => names(agent) === 'n1')
    await until('a new snapshot', () => !readSnapshotText().includes('"n2"'))
  },
)

function readSnapshotText(): string {
  try {
    return readFileSync(join(stateDir, 'cluster.json'), 'utf8')
  } catch {
    return ''
  }
}

test.skipIf(why)('without a snapshot and a server the tables wait', async () => {
  await cable.cut()
  const agent = start()
  await until('a failure', () => complaint(agent).includes('ECONNREFUSED'))
  expect(agent.cluster.nodes.isReady).toBe(false)
  await cable.open()
  await until('the list', () => agent.cluster.nodes.isReady)
})

test.skipIf(why)('asks the next server when one does not answer', async () => {
  const other = await server.cable()
  await cable.cut()
  const agent = start([cable.url, other.url])
  await until('the list', () => names(agent) === 'n1,n2')
  await cable.open()
  await other.cut()
  await makeNode('n3', '10.0.3.0/24')
  await until('the other way', () => names(agent) === 'n1,n2,n3')
})

test.skipIf(why)(
  'takes another token and another certificate authority without a restart',
  async () => {
    const token = join(server.agent, 'token')
    writeFileSync(token, 'not-the-token')
    const agent = start()
    await until('to be told', () => complaint(agent).includes('Unauthorized'))
    writeFileSync(token, 'agent-token\n')
    await until('the list', () => names(agent) === 'n1,n2')
    await cable.cut()
    await server.stopApiServer()
    await server.makeCertificates()
    const started = server.startApiServer().catch(() => undefined)
    await cable.open()
    await until('to distrust it', () => /certificate|SELF_SIGNED|VERIFY/i.test(complaint(agent)))
    server.publishAuthority()
    await started
    await makeNode('n3', '10.0.3.0/24')
    await until('to trust it', () => names(agent) === 'n1,n2,n3')
  },
)

test.skipIf(why)('sees that the cluster was put back to an older state', async () => {
  await server.stopApiServer()
  await server.stopEtcd()
  server.saveEtcd()
  server.startEtcd()
  await server.startApiServer()
  const agent = start()
  await makeNode('n3', '10.0.3.0/24')
  for (let count = 0; count < 20; count++) {
    await server.ask('PATCH', '/api/v1/nodes/n3', { metadata: { labels: { zone: `${count}` } } })
  }
  await until('all', () => agent.cluster.nodes.get('n3')?.labels.zone === '19')
  await server.stopApiServer()
  await server.stopEtcd()
  server.restoreEtcd()
  server.startEtcd()
  await server.startApiServer()
  await until('the older state', () => names(agent) === 'n1,n2')
})

test.skipIf(why)('tells conditions and events, and counts what happens again', async () => {
  const agent = start()
  await until('the list', () => agent.cluster.nodes.isReady)
  const [sink] = agent.source.sinks
  const about = { kind: 'Node', name: 'n1' } as const
  const event = { type: 'Warning', reason: 'PoolFull', message: 'none left', about } as const
  sink.condition({ type: 'NetworkUnavailable', status: 'False', reason: 'Ready', message: 'ok' })
  sink.event(event)
  const conditionOf = async () => {
    const node = (await server.ask('GET', '/api/v1/nodes/n1')) as {
      status: { conditions?: { type: string; status: string; reason: string }[] }
    }
    return node.status.conditions?.find(({ type }) => type === 'NetworkUnavailable')
  }
  await eventually('the condition', async () => (await conditionOf()) ?? undefined, DEADLINE_MS)
  expect(await conditionOf()).toMatchObject({ status: 'False', reason: 'Ready' })
  const events = async () => {
    const query = 'fieldSelector=reason=PoolFull'
    const found = (await server.ask('GET', `/api/v1/namespaces/default/events?${query}`)) as {
      items: { count: number; involvedObject: { uid: string } }[]
    }
    return found.items
  }
  await eventually('the event', async () => (await events()).length === 1 || undefined, DEADLINE_MS)
  expect((await events())[0]?.involvedObject.uid).toBe(agent.cluster.nodes.get('n1')?.uid)
  sink.event(event)
  sink.event(event)
  await eventually(
    'the count',
    async () => (await events())[0]?.count === 3 || undefined,
    DEADLINE_MS,
  )
  expect(await events()).toHaveLength(1)
})

test.skipIf(why)('reads a kubeconfig, and refuses one that would trust any server', async () => {
  const file = join(stateDir, 'kubeconfig')
  const write = (cluster: object): void =>
    writeFileSync(
      file,
      JSON.stringify({
        clusters: [{ name: 'c', cluster: { server: cable.url, ...cluster } }],
        users: [{ name: 'u', user: { token: 'agent-token' } }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }),
    )
  write({ 'insecure-skip-tls-verify': true })
  expect(() => readKubeconfig(file)).toThrow('insecure-skip-tls-verify is refused')
  write({ 'certificate-authority': join(server.agent, 'ca.crt') })
  const { server: url, credentials } = readKubeconfig(file)
  expect(url).toBe(cable.url)
  const { ca, authorization } = await credentials()
  expect(authorization).toBe('Bearer agent-token')
  expect(String(ca)).toBe(readFileSync(join(server.agent, 'ca.crt'), 'utf8'))
  const health = new Health(systemClock)
  const jobs = new Jobs({ log: silentLog, health, clock: systemClock })
  const cluster = createCluster()
  const source = new KubernetesSource({
    ...{ servers: [url], credentials, nodeName: 'n1', stateDir, cluster, userAgent: 'test' },
    ...{ clock: systemClock, log: silentLog },
  })
  source.start(jobs)
  running.push({ cluster, source, health, jobs })
  await until('the list', () => cluster.nodes.size === 2)
})

test.skipIf(why)(
  'reads Services, what is behind them but headless ones, and their ranges',
  async () => {
    const base = '/api/v1/namespaces/default/services'
    const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'
    const slice = (name: string, labels: object, ready: boolean): object => ({
      metadata: { name, labels: { 'kubernetes.io/service-name': 'web', ...labels } },
      addressType: 'IPv4',
      ports: [{ name: '', port: 8080, protocol: 'TCP' }],
      endpoints: [{ addresses: ['10.0.1.5'], conditions: { ready }, nodeName: 'n1' }],
    })
    const ports = [{ port: 80, protocol: 'TCP', targetPort: 8080 }]
    await server.ask('POST', base, { metadata: { name: 'web' }, spec: { type: 'NodePort', ports } })
    await server.ask('POST', slices, slice('web-1', {}, true))
    const headless = { 'service.kubernetes.io/headless': '' }
    await server.ask('POST', slices, slice('web-2', headless, true))
    const elsewhere = { 'service.kubernetes.io/service-proxy-name': 'other' }
    await server.ask('POST', slices, slice('web-3', elsewhere, true))
    const { cluster } = start()
    const tables = [cluster.services, cluster.endpointSlices, cluster.serviceCIDRs]
    await until('the lists', () => tables.every(({ isReady }) => isReady))
    const service = cluster.services.get('default/web')
    expect(service).toMatchObject({ type: 'NodePort', ports: [{ name: '', port: 80 }] })
    expect(service?.clusterIPs).toHaveLength(1)
    expect(service?.ports[0]?.nodePort).toBeGreaterThan(0)
    const conditions = (): string[] =>
      cluster.endpointSlices
        .values()
        .filter(({ service: name }) => name === 'web')
        .map(({ name, endpoints }) => `${name} ${endpoints[0]?.condition}`)
    expect(conditions()).toEqual(['web-1 Ready'])
    // Where the API server has them, from its own flag.
    const { size } = cluster.serviceCIDRs
    if (size > 0) expect(cluster.serviceCIDRs.get('kubernetes')?.cidrs).toHaveLength(1)
    await server.ask('PATCH', `${slices}/web-1`, slice('web-1', {}, false))
    await until('the change', () => conditions().join() === 'web-1 NotReady')
    await server.ask('DELETE', `${slices}/web-1`)
    await until('the end', () => conditions().length === 0)
    await server.ask('DELETE', `${base}/web`)
    await until('its end', () => !cluster.services.has('default/web'))
  },
)

test.skipIf(why)(
  'kinds that an older API server does not know have no objects, and are no fault',
  async () => {
    const { source, jobs, health } = start()
    const lists: (readonly unknown[])[] = []
    const watcher = new Watcher({
      ...{ api: source.api, clock: systemClock, log: silentLog },
      watched: {
        ...{ resource: 'servicecidrs', path: '/apis/networking.k8s.io/v1beta0/servicecidrs' },
        ...{ isMetadataOnly: false, isOptional: true },
      },
      target: { read: (one) => one, replace: (all) => lists.push(all), apply: () => undefined },
    })
    jobs.start('watch what is not there', (signal, alive) => watcher.run(signal, alive))
    await until('the answer', () => lists.length > 0)
    expect(lists).toEqual([[]])
    expect(health.snapshot().components.filter(({ state }) => state === 'degraded')).toEqual([])
  },
)

interface Rule {
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
}

test.skipIf(why)(
  'without any one rule of the ClusterRole something fails, and the message names it',
  async () => {
    const role = (await server.ask('GET', `${RULES}/clusterroles/sinabro`)) as { rules: Rule[] }
    const setRules = (rules: readonly Rule[]) =>
      server.ask('PATCH', `${RULES}/clusterroles/sinabro`, { rules })
    try {
      for (const [at, rule] of role.rules.entries()) {
        for (const verb of rule.verbs) {
          const verbs = rule.verbs.filter((one) => one !== verb)
          const less = role.rules.map((one, index) => (index === at ? { ...one, verbs } : one))
          await setRules(verbs.length > 0 ? less : role.rules.filter((_, index) => index !== at))
          const agent = start()
          const [sink] = agent.source.sinks
          const about = { kind: 'Node', name: 'n1' } as const
          const tell = (): void =>
            sink.event({ type: 'Normal', reason: 'Rule', message: `${at}${verb}`, about })
          sink.condition({
            type: 'SinabroHealthy',
            status: 'True',
            reason: `R${at}`,
            message: verb,
          })
          tell()
          const [resource = ''] = rule.resources
          const told = new RegExp(`cannot ${verb} resource "${resource}".*deploy/sinabro.yaml`)
          await until(`${verb} ${resource} to be missed`, () => {
            tell()
            return told.test(complaint(agent))
          })
          await agent.jobs.stop()
        }
      }
    } finally {
      await setRules(role.rules)
    }
  },
)

test.skipIf(why)('reads a thousand nodes in pages', async () => {
  const images = Array.from({ length: 30 }, (_, index) => ({
    names: [`registry.example/project/image-${index}@sha256:${'0'.repeat(64)}`],
    sizeBytes: 100_000_000,
  }))
  for (let base = 0; base < 1000; base += 50) {
    await Promise.all(
      Array.from({ length: 50 }, async (_, offset) => {
        const number = base + offset
        const name = `fake-${number}`
        const podCIDR = `10.${1 + (number >> 8)}.${number & 255}.0/24`
        const node = { metadata: { name }, spec: { podCIDR, podCIDRs: [podCIDR] } }
        await server.ask('POST', '/api/v1/nodes', node)
        await server.ask('PATCH', `/api/v1/nodes/${name}/status`, { status: { images } })
      }),
    )
  }
  const startedAt = performance.now()
  const agent = start()
  await until('all', () => agent.cluster.nodes.size === 1002)
  const tookMs = Math.round(performance.now() - startedAt)
  const bytes = agent.source.api.traffic.bytes().find((row) => row.verb === 'list')?.bytes ?? 0
  console.log(
    `1,002 nodes: ${lists(agent)} requests, ${Math.round(bytes / 1024)} KiB, ${tookMs} ms`,
  )
  expect(lists(agent)).toBe(11)
})
