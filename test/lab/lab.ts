// A lab: several nodes on this machine, an underlay between them and a host outside; raised, found again, taken down.
import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { disown, give, take } from './claim.ts'
import { LabError } from './errors.ts'
import { Machine, type MachineState } from './machine.ts'
import { Manifests, nodeObject } from './manifests.ts'
import { LabNode } from './node.ts'
import { LABS_DIR, type LabPlaces, labPlaces } from './places.ts'
import {
  checkName,
  type Families,
  hostAddresses,
  type NodePlan,
  nodePlan,
  OUTSIDE_HOST,
} from './plan.ts'
import { type UplinkKind, wire } from './underlay.ts'

export interface LabOptions {
  readonly name: string
  readonly nodes: number
  readonly families?: Families
  readonly underlayMtu?: number
  /** What has the nodes' addresses; a plain cable by default. Not every kernel has every kind. */
  readonly uplink?: UplinkKind
  /** A lab of this name that somebody left up goes; without it that is an error. One in use never goes. */
  readonly canReplace?: boolean
}

interface LabState {
  readonly name: string
  readonly underlayMtu: number
  readonly underlay: MachineState
  readonly outside: MachineState
  readonly nodes: readonly { readonly machine: MachineState; readonly plan: NodePlan }[]
}

const UNDERLAY = 'underlay'
const OUTSIDE = 'outside'
const DEFAULT_UNDERLAY_MTU = 1500

export class Lab {
  readonly name: string
  readonly nodes: readonly LabNode[]
  readonly underlay: Machine
  /** A plain host on the underlay that is no node; the nodes' default router. */
  readonly outside: Machine
  readonly manifests: Manifests
  readonly places: LabPlaces

  private constructor(state: LabState) {
    this.name = state.name
    this.places = labPlaces(state.name)
    this.manifests = new Manifests(this.places.manifestsDir)
    this.underlay = new Machine(state.underlay)
    this.outside = new Machine(state.outside)
    this.nodes = state.nodes.map(
      ({ machine, plan }) => new LabNode(new Machine(machine), plan, this.places.manifestsDir),
    )
  }

  /** Raises bare nodes with their Node objects; agents are started by the caller. Owned by this process until `keep`. */
  static async up(options: LabOptions): Promise<Lab> {
    if (process.getuid?.() !== 0) {
      throw new LabError('root', 'the lab makes network namespaces: run it as root')
    }
    const name = checkName('lab', options.name)
    const families = options.families ?? 'dual'
    const plans = Array.from({ length: options.nodes }, (_, i) => nodePlan(i + 1, families))
    const cgroup = await take(name, options.canReplace === true)
    const places = labPlaces(name)
    try {
      const names = [UNDERLAY, OUTSIDE, ...plans.map((plan) => plan.name)]
      const machines = await Promise.all(names.map((m) => Machine.boot(places.dir, m, cgroup)))
      const [underlay, outside, ...nodeMachines] = machines
      if (underlay === undefined || outside === undefined) throw new Error('unreachable')
      const routers = hostAddresses(OUTSIDE_HOST, families)
      const underlayMtu = options.underlayMtu ?? DEFAULT_UNDERLAY_MTU
      const nodes = plans.flatMap((plan, i) => {
        const machine = nodeMachines[i]
        return machine === undefined ? [] : [{ machine, plan }]
      })
      const plugs = nodes.map(({ machine, plan }) => ({
        machine,
        addresses: plan.addresses,
        routers,
      }))
      await wire(
        underlay,
        [{ machine: outside, addresses: routers, routers: [] }, ...plugs],
        underlayMtu,
        options.uplink,
      )
      const state: LabState = {
        name,
        underlayMtu,
        underlay: underlay.state,
        outside: outside.state,
        nodes: nodes.map(({ machine, plan }) => ({ machine: machine.state, plan })),
      }
      const lab = new Lab(state)
      for (const plan of plans) lab.manifests.write(nodeObject(plan, randomUUID()))
      writeWhole(places.stateFile, state)
      return lab
    } catch (error) {
      await Lab.down(name)
      throw error
    }
  }

  /** A lab that is up. */
  static open(name: string): Lab {
    const { stateFile } = labPlaces(checkName('lab', name))
    if (!existsSync(stateFile)) throw new LabError('absent', `no lab ${name} is up`)
    return new Lab(JSON.parse(readFileSync(stateFile, 'utf8')) as LabState)
  }

  static names(): string[] {
    if (!existsSync(LABS_DIR)) return []
    return readdirSync(LABS_DIR).filter((name) => existsSync(labPlaces(name).stateFile))
  }

  /** Ends every process of the lab and removes what it left; absent is fine. @throws LabError in-use by another process */
  static down(name: string): Promise<void> {
    return give(checkName('lab', name))
  }

  down(): Promise<void> {
    return Lab.down(this.name)
  }

  /** From now on the lab belongs to nobody and stays up. */
  keep(): void {
    disown(this.name)
  }

  node(number: number): LabNode {
    const found = this.nodes[number - 1]
    if (found === undefined) {
      throw new LabError('absent', `lab ${this.name} has ${this.nodes.length} nodes, not ${number}`)
    }
    return found
  }

  nodeNamed(name: string): LabNode {
    const found = this.nodes.find((node) => node.name === name)
    if (found === undefined) {
      const names = this.nodes.map((node) => node.name).join(', ')
      throw new LabError('absent', `lab ${this.name} has no node ${name}; it has ${names}`)
    }
    return found
  }
}

function writeWhole(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, JSON.stringify(value, null, 2))
  renameSync(`${path}.new`, path)
}
