// A Kubernetes cluster on this machine: control plane, nodes and a host outside, each a set of namespaces on one underlay.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from '../lab/eventually.ts'
import { Machine, type MachineState } from '../lab/machine.ts'
import type { Families } from '../lab/plan.ts'
import { hostAddresses, OUTSIDE_HOST } from '../lab/plan.ts'
import { wire } from '../lab/underlay.ts'
import { plugIn, readMac } from './cable.ts'
import { below, type Cgroups, makeCgroups } from './cgroups.ts'
import { disown, give, take } from './claim.ts'
import { ControlMachine, ControlPlane } from './control-plane.ts'
import { ClusterNode, type NodeSettings } from './node.ts'
import { NodeMachine } from './node-machine.ts'
import { makePki } from './pki.ts'
import {
  CLUSTER_DIR,
  CONTROL_NODE,
  LOGS,
  type NetworkPlan,
  networkPlan,
  nodeAddresses,
} from './places.ts'

export interface ClusterOptions {
  readonly nodes: number
  readonly families: Families
  readonly containerd: NodeSettings['containerd']
  readonly proxyMode: NodeSettings['proxyMode']
}

interface ClusterState {
  readonly families: Families
  readonly underlay: MachineState
  readonly outside: MachineState
  readonly control: MachineState
  readonly nodes: readonly {
    readonly machine: MachineState
    readonly cgroups: Cgroups
    readonly settings: NodeSettings
  }[]
}

const STATE = join(CLUSTER_DIR, 'cluster.json')
const REGISTER_DEADLINE_MS = 120_000
const READY_DEADLINE_MS = 180_000

export class Cluster {
  readonly plan: NetworkPlan
  readonly control: ControlPlane
  /** A host on the underlay that is no node; the nodes' default router. */
  readonly outside: Machine
  readonly underlay: Machine
  readonly nodes: readonly ClusterNode[]

  private constructor(state: ClusterState) {
    this.plan = networkPlan(state.families)
    this.underlay = new Machine(state.underlay)
    this.outside = new Machine(state.outside)
    this.nodes = state.nodes.map(
      ({ machine, cgroups, settings }) =>
        new ClusterNode(settings, this.plan, new NodeMachine(machine, cgroups)),
    )
    const { machine } = this.node(CONTROL_NODE)
    this.control = new ControlPlane(new ControlMachine(state.control, machine), this.plan)
  }

  /** Machines, cables, control plane, kubelets: nodes are registered and have their ranges, and no network yet. */
  static async up(options: ClusterOptions, images: readonly string[]): Promise<Cluster> {
    const cgroups = await take()
    try {
      const cluster = await Cluster.#machines(options, cgroups)
      await Promise.all([
        cluster.control.start(),
        ...cluster.nodes.map((node) => node.prepare(images)),
      ])
      for (const node of cluster.nodes) node.startKubernetes()
      for (const node of cluster.nodes) await cluster.podRanges(node.name)
      return cluster
    } catch (error) {
      await give(true)
      throw error
    }
  }

  static async #machines(options: ClusterOptions, cgroups: Cgroups): Promise<Cluster> {
    const { families, containerd, proxyMode } = options
    const plan = networkPlan(families)
    const settings = Array.from({ length: options.nodes }, (_, i): NodeSettings => {
      return { name: `node${i + 1}`, number: i + 1, containerd, proxyMode }
    })
    mkdirSync(LOGS, { recursive: true })
    makeCgroups(cgroups)
    const pki = makePki(
      plan,
      settings.map(({ name }) => name),
    )
    const [underlay, outside, control, ...machines] = await Promise.all([
      ...['underlay', 'outside', 'control'].map((name) =>
        Machine.boot(CLUSTER_DIR, name, cgroups.unified),
      ),
      ...settings.map(({ name }) => NodeMachine.bootNode(name, below(cgroups, name))),
      pki.then(() => undefined),
    ])
    if (underlay === undefined || outside === undefined || control === undefined) {
      throw new Error('unreachable')
    }
    const nodeMachines = machines.filter((machine) => machine instanceof NodeMachine)
    const routers = hostAddresses(OUTSIDE_HOST, families)
    await wire(
      underlay,
      [
        { machine: outside, addresses: routers, routers: [] },
        ...nodeMachines.map((machine, i) => ({
          machine,
          addresses: nodeAddresses(i + 1, families),
          routers,
        })),
      ],
      1500,
    )
    const state: ClusterState = {
      families,
      underlay: underlay.state,
      outside: outside.state,
      control: control.state,
      nodes: settings.map((setting, i) => {
        const machine = nodeMachines[i]
        if (machine === undefined) throw new Error('unreachable')
        return { settings: setting, machine: machine.state, cgroups: machine.cgroups }
      }),
    }
    writeFileSync(`${STATE}.new`, JSON.stringify(state, null, 2))
    renameSync(`${STATE}.new`, STATE)
    return new Cluster(state)
  }

  static isUp(): boolean {
    return existsSync(STATE)
  }

  /** The cluster that is up. */
  static open(): Cluster {
    if (!Cluster.isUp()) {
      throw new Error("no cluster is up; 'npm run test:kubernetes -- up' raises one")
    }
    return new Cluster(JSON.parse(readFileSync(STATE, 'utf8')) as ClusterState)
  }

  /** Ends every process of the cluster and removes what it left; absent is fine. Logs of a failure can stay until the next. */
  static down({ keepsLogs = false } = {}): Promise<void> {
    return give(keepsLogs)
  }

  /** From now on the cluster belongs to nobody and stays up. */
  keep(): void {
    disown()
  }

  get hasKubeProxy(): boolean {
    return this.nodes.some(({ kubeProxy }) => kubeProxy !== undefined)
  }

  node(number: number): ClusterNode {
    const found = this.nodes[number - 1]
    if (found === undefined) throw new Error(`the cluster has ${this.nodes.length} nodes`)
    return found
  }

  async kubectl(...args: readonly string[]): Promise<string> {
    return (await this.control.kubectl(args)).stdout
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })
    await this.control.kubectl(['apply', '-f', '-'], { input })
  }

  /** The ranges the controller manager gave; waits until it has. They come in no fixed order. */
  podRanges(node: string): Promise<string[]> {
    return eventually(
      `the ranges of ${node} (${LOGS})`,
      async () => {
        const path = 'jsonpath={.spec.podCIDRs[*]}'
        const args = ['get', 'node', node, '-o', path]
        const { stdout } = await this.control.kubectl(args, { canFail: true })
        const ranges = stdout.trim().split(' ').filter(Boolean)
        return ranges.length === this.plan.podRanges.length && ranges
      },
      REGISTER_DEADLINE_MS,
    )
  }

  /** Nodes Ready, and without the taint that goes a moment later. */
  async waitReady(names = this.nodes.map(({ name }) => name)): Promise<void> {
    const path = 'jsonpath={range .items[*]}{.metadata.name}={.spec.taints[*].key}{"\\n"}{end}'
    const timeout = `--timeout=${READY_DEADLINE_MS / 1000}s`
    await this.kubectl('wait', '--for=condition=Ready', ...names.map((n) => `node/${n}`), timeout)
    await eventually('the taints of new nodes to go', async () => {
      const lines = (await this.kubectl('get', 'nodes', '-o', path)).trim().split('\n')
      return names.every((name) => lines.includes(`${name}=`))
    })
  }

  /** Its power goes and comes back: the same disk, a fresh network namespace, the old cable's place. */
  async reboot(node: ClusterNode): Promise<void> {
    const mac = await readMac(node)
    await node.machine.end()
    await this.#bootAgain(node, [], mac)
  }

  /**
   * Another machine, with an empty disk, under the name and address of one that is gone for good.
   * @param meanwhile when the old one's Node is gone, and before the new one's comes
   */
  async replace(
    node: ClusterNode,
    images: readonly string[],
    meanwhile: () => Promise<void>,
  ): Promise<void> {
    await node.machine.end()
    await this.kubectl('delete', 'node', node.name)
    await meanwhile()
    rmSync(node.machine.onDisk('.'), { recursive: true })
    await this.#bootAgain(node, images)
  }

  async #bootAgain(node: ClusterNode, images: readonly string[], mac?: string): Promise<void> {
    await node.boot()
    await plugIn(this.underlay, node, { families: this.plan.families, mac })
    this.#save()
    await node.prepare(images)
    node.startKubernetes()
  }

  #save(): void {
    const state = JSON.parse(readFileSync(STATE, 'utf8')) as ClusterState
    const nodes = this.nodes.map(({ settings, machine }) => {
      return { settings, machine: machine.state, cgroups: machine.cgroups }
    })
    writeFileSync(`${STATE}.new`, JSON.stringify({ ...state, nodes }, null, 2))
    renameSync(`${STATE}.new`, STATE)
  }
}

/** The route to a node's pods through the node itself. */
export function routeCommand(range: string, node: ClusterNode): string[] {
  const via = node.addresses.find((address) => address.includes(':') === range.includes(':'))
  if (via === undefined) throw new Error(`${node.name} has no address of the family of ${range}`)
  return ['ip', 'route', 'replace', range, 'via', via]
}
