// What a container runtime can ask of our plug-in, asked through the real libcni: every verb in every version, with cached results, and
// reference plug-ins chained behind ours. Works on a network of another name, so that GC leaves the cluster's pods alone.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { BINARIES } from '../versions.ts'
import type { Scenario } from './scenario.ts'

const VERSIONS = ['0.4.0', '1.0.0', '1.1.0'] as const
/** STATUS and GC came with it; Debian's reference plug-ins end before. */
const NEWEST = '1.1.0'
const CONF_DIR = 'etc/cni/net.d'
const WORK = '/run/libcni-test'
const NETWORK = 'libcni-test'
const DRIVER = join(BINARIES, 'libcni')

interface Answer {
  readonly ok: boolean
  readonly error?: string
  readonly result?: { readonly ips?: readonly { readonly address: string }[] }
}

interface Question {
  readonly verb: string
  readonly id?: string
  readonly valid?: readonly { readonly containerID: string; readonly ifname: string }[]
}

class Driver {
  readonly #node: ClusterNode
  readonly #common: object

  constructor(node: ClusterNode, common: object) {
    this.#node = node
    this.#common = common
  }

  /** Answers in the order of the questions. @throws Error at the first that is refused */
  async ask(...questions: readonly Question[]): Promise<Answer[]> {
    const lines = questions.map((question) => {
      const id = question.id ?? 'none'
      return JSON.stringify({ ...this.#common, ...question, id, netns: `/run/netns/${id}` })
    })
    const { stdout } = await this.#node.machine.exec([DRIVER], { input: `${lines.join('\n')}\n` })
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Answer)
    answers.forEach(({ ok, error }, i) => {
      if (!ok) throw new Error(`${questions[i]?.verb} ${questions[i]?.id ?? ''}: ${error}`)
    })
    return answers
  }
}

async function allVerbs(cluster: Cluster): Promise<string> {
  const node = cluster.node(1)
  await node.machine.exec(['mkdir', '-p', WORK])
  const ids = ['libcni-one', 'libcni-two']
  for (const id of ids) {
    const path = `/run/netns/${id}`
    await node.machine.exec(['sh', '-c', `touch ${path} && unshare --net=${path} true`])
  }
  try {
    for (const version of VERSIONS) {
      const driver = new Driver(node, { ...common(node, []), version })
      await verbs(driver, ids, version, cluster.plan.podRanges.length)
    }
    await chained(cluster, node, ids)
    return VERSIONS.join(', ')
  } finally {
    await node.machine.exec(['sh', '-c', `umount ${paths(ids)}; rm -rf ${paths(ids)} ${WORK}`])
  }
}

const paths = (ids: readonly string[]): string => ids.map((id) => `/run/netns/${id}`).join(' ')

async function verbs(driver: Driver, ids: readonly string[], version: string, families: number) {
  const [one = '', two = ''] = ids
  const [, added, cached] = await driver.ask(
    { verb: 'VALIDATE' },
    { verb: 'ADD', id: one },
    { verb: 'CACHED', id: one },
    { verb: 'CHECK', id: one },
    { verb: 'ADD', id: two },
  )
  const addresses = added?.result?.ips ?? []
  if (addresses.length !== families) throw new Error(`ADD gave ${JSON.stringify(addresses)}`)
  if (JSON.stringify(cached?.result?.ips) !== JSON.stringify(addresses)) {
    throw new Error(`the cached result differs: ${JSON.stringify(cached?.result)}`)
  }
  if (version === NEWEST) {
    await driver.ask(
      { verb: 'STATUS' },
      { verb: 'GC', valid: [{ containerID: one, ifname: 'eth0' }] },
      { verb: 'CHECK', id: one },
    )
  }
  // Twice: a runtime repeats a DEL whose answer it did not hear.
  await driver.ask(...[one, two, one].map((id) => ({ verb: 'DEL', id })))
}

/** A host port, a sysctl and firewall rules by the reference plug-ins, on a device that is ours; rates are our own (docs/bandwidth.md). */
async function chained(cluster: Cluster, node: ClusterNode, ids: readonly string[]) {
  const id = ids[0] ?? ''
  const behind = [
    { type: 'portmap', capabilities: { portMappings: true } },
    { type: 'tuning', sysctl: { 'net.ipv4.conf.all.log_martians': '1' } },
    { type: 'firewall' },
  ]
  const driver = new Driver(node, {
    ...common(node, behind),
    version: '1.0.0',
    capabilities: { portMappings: [{ hostPort: 8090, containerPort: 8080, protocol: 'tcp' }] },
  })
  const [added] = await driver.ask({ verb: 'ADD', id })
  // Debian 12's portmap looks for IPv4 rules where there are none, and for them among those of IPv6.
  if (cluster.plan.families === 'ipv4') await driver.ask({ verb: 'CHECK', id })
  if (added?.result?.ips?.length !== cluster.plan.podRanges.length) {
    throw new Error(`ADD gave ${JSON.stringify(added?.result)}`)
  }
  await driver.ask({ verb: 'DEL', id }, { verb: 'DEL', id })
}

/** The agent's own configuration under another name, with these plug-ins in the place of those behind ours. */
function common(node: ClusterNode, behind: readonly object[]): object {
  const folder = node.machine.onDisk(CONF_DIR)
  const name = readdirSync(folder).find((file) => file.endsWith('sinabro.conflist'))
  if (name === undefined) throw new Error(`no configuration of ours in ${folder}`)
  const list = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { plugins: object[] }
  const file = `${NETWORK}-${behind.length}.conflist`
  const onHost = node.machine.pathOnHost(join(WORK, file))
  mkdirSync(node.machine.pathOnHost(WORK), { recursive: true })
  const plugins = [...list.plugins.slice(0, 1), ...behind]
  writeFileSync(onHost, JSON.stringify({ ...list, name: NETWORK, plugins }))
  return {
    conf: join(WORK, file),
    cache: join(WORK, 'cache'),
    binDirs: ['/opt/cni/bin', '/usr/lib/cni'],
  }
}

export const libcni: readonly Scenario[] = [
  { name: 'every verb in every CNI version through libcni, alone and chained', run: allVerbs },
]
