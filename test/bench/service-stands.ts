// Nodes with many Services, served by ours or by a real kube-proxy in nftables mode beside the ptp plug-in; both read the same API server.
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { BINARIES } from '../kubernetes/versions.ts'
import { processesIn } from '../lab/cgroup.ts'
import { eventually, Lab, LabError, type LabNode, run } from '../lab/index.ts'
import { Runtime } from '../lab/runtime.ts'
import { memoryOf } from './agent.ts'
import { LAB_NAME } from './bench.ts'
import { compile } from './compile.ts'
import type { ManyServices } from './many-services.ts'
import { ownPlugin, type Plugin, PluginCaller, referencePlugin } from './plugins.ts'
import { type BenchPod, podIn } from './pod-stands.ts'

export const PEER = 'kube-proxy 1.34.4, nftables'
export type Who = 'ours' | 'peer'

const API_PORT = 6443
const METRICS_PORT = 10249
/** Of the load's kinds: see load.c. */
export const RR_PORT = 7001
export const SHORT_PORT = 7002
const READY_DEADLINE_MS = 120_000
const POD_MTU = 1450

/** One node with two pods, and whoever serves services there. */
export class ServiceStand implements AsyncDisposable {
  readonly who: Who
  readonly node: LabNode
  readonly client: BenchPod
  readonly server: BenchPod
  readonly #lab: Lab
  readonly #dir: string
  #api: ManyServicesServer | undefined

  private constructor(who: Who, lab: Lab, dir: string, client: BenchPod, server: BenchPod) {
    this.who = who
    this.#lab = lab
    this.node = lab.node(1)
    this.#dir = dir
    this.client = client
    this.server = server
  }

  /** Its pods are there; nobody serves yet. */
  static async raise(who: Who, dir: string): Promise<ServiceStand> {
    if (!existsSync(join(BINARIES, 'kube-proxy'))) {
      throw new LabError('absent', "no kube-proxy: 'npm run test:kubernetes -- build' makes one")
    }
    const name = `${LAB_NAME}-services-${who}`
    const lab = await Lab.up({ name, nodes: 1, families: 'ipv4', canReplace: true })
    try {
      const own = join(dir, who)
      mkdirSync(own, { recursive: true })
      await makeCertificates(own)
      const plugin = await prepare(who, lab.node(1), own)
      const caller = new PluginCaller(lab.node(1), await compile('plugin-caller', own), own)
      const calls = await caller.containers(2)
      await caller.call('ADD', plugin, calls)
      if (who === 'ours') await lab.node(1).agent.kill('SIGTERM')
      const [a, b] = await Promise.all(calls.map(({ netns }) => podIn(lab.node(1), netns)))
      if (a === undefined || b === undefined) throw new Error('unreachable')
      return new ServiceStand(who, lab, own, a, b)
    } catch (error) {
      await lab.down()
      throw error
    }
  }

  /** The cluster has these, and whoever serves starts from nothing. Resolves when it has heard of all; in ns since 1970. */
  async start(spec: ManyServices): Promise<bigint> {
    this.#api = await ManyServicesServer.start(this.node, this.#dir, spec)
    const listed = this.#api.next('listed')
    if (this.who === 'ours') this.node.agent.start({ from: 'bundle', args: agentArgs(this.#dir) })
    else startProxy(this.node, this.#dir)
    return await listed
  }

  /** And what it wrote is gone: the next start is a first one. */
  async stop(): Promise<void> {
    if (this.who === 'ours') {
      await this.node.agent.kill('SIGTERM')
      this.node.agent.start({ from: 'bundle', args: ['--services', 'none'] })
      await this.node.agent.waitReady(READY_DEADLINE_MS)
      await this.node.agent.kill('SIGTERM')
    } else {
      const pid = this.pid()
      if (pid !== undefined) process.kill(pid, 'SIGTERM')
      await eventually('kube-proxy to end', () => this.pid() === undefined)
      await this.node.exec(['nft', 'flush', 'ruleset'])
    }
    this.#api?.[Symbol.dispose]()
  }

  /** One endpoint of the first service is another; when, in ns since 1970. */
  change(): Promise<bigint> {
    return this.#running.ask('change', 'changed')
  }

  /** The cluster has so many Services by now, more than before; when, in ns since 1970. */
  grow(services: number): Promise<bigint> {
    return this.#running.ask(`grow ${services}`, 'grown')
  }

  get #running(): ManyServicesServer {
    if (this.#api === undefined) throw new Error('not started')
    return this.#api
  }

  pid(): number | undefined {
    if (this.who === 'ours') return this.node.agent.pids()[0]
    const directory = join(this.node.machine.state.cgroup, 'kube-proxy')
    return processesIn(directory).find((pid) => commOf(pid) === 'kube-proxy')
  }

  memory(): { readonly anonymous: number; readonly rss: number } {
    const pid = this.pid()
    if (pid === undefined) throw new LabError('absent', `${this.who} ended`)
    return memoryOf(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))
  }

  /** A metric without labels, of whoever serves; undefined while there is none. */
  async metric(name: string): Promise<number | undefined> {
    const url =
      this.who === 'ours'
        ? ['--unix-socket', '/run/sinabro/agent.sock', 'http://agent/v1/metrics']
        : [`http://127.0.0.1:${METRICS_PORT}/metrics`]
    const argv = ['curl', '-sf', '--max-time', '10', ...url]
    const { stdout } = await this.node.exec(argv, { canFail: true })
    const found = new RegExp(`^${name}(?:\\{ip_family="IPv4"\\})? (\\S+)$`, 'm').exec(stdout)?.[1]
    return found === undefined ? undefined : Number(found)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#api?.[Symbol.dispose]()
    await this.#lab.down()
  }
}

async function prepare(who: Who, node: LabNode, dir: string): Promise<Plugin> {
  if (who === 'ours') {
    node.agent.start({ from: 'bundle' })
    await node.agent.waitReady()
    return ownPlugin(new Runtime(node.machine).networkList())
  }
  const settings = ['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0']
  await node.exec(['sysctl', '-qw', ...settings])
  const plugin = referencePlugin('ptp', node.plan.podCidrs.slice(0, 1), join(dir, 'ipam'))
  return { ...plugin, config: { ...plugin.config, mtu: POD_MTU } }
}

function agentArgs(dir: string): string[] {
  return [
    ...['--source', 'kubernetes', '--kubernetes-api', `https://127.0.0.1:${API_PORT}`],
    ...['--service-account-dir', dir, '--services', 'ebpf'],
  ]
}

function startProxy(node: LabNode, dir: string): void {
  const kubeconfig = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'c' },
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    users: [{ name: 'u', user: { token: 'bench' } }],
    clusters: [
      {
        name: 'c',
        cluster: {
          server: `https://127.0.0.1:${API_PORT}`,
          'certificate-authority': join(dir, 'ca.crt'),
        },
      },
    ],
  }
  writeFileSync(join(dir, 'kubeconfig.json'), JSON.stringify(kubeconfig))
  const config = {
    ...{ apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration' },
    clientConnection: { kubeconfig: join(dir, 'kubeconfig.json') },
    ...{ mode: 'nftables', clusterCIDR: '10.244.0.0/16', hostnameOverride: node.name },
    conntrack: { maxPerCore: 0, min: 0 },
  }
  writeFileSync(join(dir, 'kube-proxy.json'), JSON.stringify(config))
  const argv = [join(BINARIES, 'kube-proxy'), '--config', join(dir, 'kube-proxy.json')]
  node.machine.spawn(argv, { cgroup: 'kube-proxy', stdio: 'ignore' }).unref()
}

function commOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
}

async function makeCertificates(dir: string): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const file = (name: string) => join(dir, name)
  const make = ['openssl', 'req', '-x509', ...key, '-days', '2']
  await run([...make, '-keyout', file('ca.key'), '-out', file('ca.crt'), '-subj', '/CN=ca'])
  await run([
    ...[...make, '-CA', file('ca.crt'), '-CAkey', file('ca.key')],
    ...['-keyout', file('server.key'), '-out', file('server.crt'), '-subj', '/CN=server'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1'],
    ...['-addext', 'basicConstraints=critical,CA:FALSE'],
  ])
  writeFileSync(file('token'), 'bench')
}

class ManyServicesServer implements Disposable {
  readonly #child: ChildProcess
  readonly #waiting: { readonly word: string; readonly resolve: (at: bigint) => void }[] = []

  private constructor(child: ChildProcess) {
    this.#child = child
    if (child.stdout === null) throw new Error('unreachable')
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [word, at = '0'] = line.split(' ')
      const index = this.#waiting.findIndex((one) => one.word === word)
      if (index >= 0) this.#waiting.splice(index, 1)[0]?.resolve(BigInt(at))
    })
  }

  static async start(node: LabNode, dir: string, spec: ManyServices): Promise<ManyServicesServer> {
    const program = join(import.meta.dirname, 'many-services.ts')
    const args = [String(API_PORT), dir, node.name, JSON.stringify(spec)]
    const child = node.machine.spawn([process.execPath, program, ...args], {
      cgroup: 'api',
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const server = new ManyServicesServer(child)
    await server.next('listening')
    return server
  }

  /** When the next line of this kind comes. */
  next(word: string): Promise<bigint> {
    return new Promise((resolve) => this.#waiting.push({ word, resolve }))
  }

  ask(line: string, answer: string): Promise<bigint> {
    const answered = this.next(answer)
    this.#child.stdin?.write(`${line}\n`)
    return answered
  }

  [Symbol.dispose](): void {
    this.#child.stdin?.end()
  }
}
