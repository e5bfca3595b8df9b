// A node and a pod that ask services by their sockets: two namespaces with backends in each, a cgroup with our programs, processes inside and outside of it.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { NetworkNamespace } from '@sinabro/node-netlink'
import type { CgroupHook } from '../src/attach-type.ts'
import { counterIndex, OUTCOMES, PLACES } from '../src/drop-reasons.ts'
import {
  BpfLink,
  BpfObject,
  type BpfProgram,
  type Codec,
  TypedMap,
  TypedPerCpuMap,
} from '../src/index.ts'
import {
  affinity,
  affinityKey,
  backend,
  counter,
  SERVICE_ADDRESS,
  SERVICE_AFFINITY,
  SLOT_MEMBER,
  service,
  serviceConfig,
  serviceKey,
  slot,
  slotKey,
  sourceRangeKey,
} from '../src/layouts.ts'
import { objectPath } from '../src/objects.ts'
import { addr, u32 } from '../src/struct.ts'
import { netnsName, TestCgroup } from '../testing/index.ts'

export const PROTO = { tcp: 6, udp: 17 } as const
export type Proto = keyof typeof PROTO

/** Addresses that both namespaces have, so that whoever is asked is near; backends say them to who asks. */
export const addresses = {
  4: { node: '192.0.2.1', backends: ['10.244.1.11', '10.244.1.12', '10.244.1.13'] },
  6: { node: '2001:db8::1', backends: ['fd00:1::11', 'fd00:1::12', 'fd00:1::13'] },
} as const
export const BACKEND_PORT = 8080
const LOOPBACKS = ['127.0.0.1', '::1']

export const SOCKET_HOOKS = [
  'connect4',
  'connect6',
  'sendmsg4',
  'sendmsg6',
  'recvmsg4',
  'recvmsg6',
  'getpeername4',
  'getpeername6',
] as const satisfies readonly CgroupHook[]

export interface ServiceSpec {
  readonly id: number
  /** '0.0.0.0' or '::' stands for those of the node. */
  readonly address: string
  readonly port: number
  readonly proto: Proto
  /** Their addresses; each has BACKEND_PORT. */
  readonly backends: readonly string[]
  readonly affinitySec?: number
  readonly flags?: number
}

/** A process that does with sockets what it is told: see asker.c. */
export class Asker {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(child: ChildProcess) {
    if (child.stdout === null) throw new TypeError('a process without output')
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  /** What it says of it. */
  async do(line: string): Promise<string> {
    this.#child.stdin?.write(`${line}\n`)
    return await this.next()
  }

  async next(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error('the process in the namespace has ended')
    return value
  }
}

export class SocketWorld {
  readonly cgroup = TestCgroup.open()
  readonly #folder = mkdtempSync(join(tmpdir(), 'sinabro-asker-'))
  readonly #program = join(this.#folder, 'asker')
  readonly #names: Record<'node' | 'pod', string>
  readonly #children: ChildProcess[] = []
  readonly #object = BpfObject.open(objectPath('sockets'), {
    maxEntries: { sb_services: 256, sb_slots: 1024, sb_backends: 64, sb_affinity: 128 },
  })
  readonly #links: BpfLink[] = []
  readonly #services = new Map<number, ServiceSpec>()
  readonly #backendIds = new Map<string, number>()

  private constructor() {
    const name = netnsName()
    this.#names = { node: `${name}-n`, pod: `${name}-p` }
  }

  /** Programs are loaded and attached, and no service is known yet. */
  static async up(): Promise<SocketWorld> {
    const world = new SocketWorld()
    try {
      execFileSync('gcc', ['-O2', '-o', world.#program, join(import.meta.dirname, 'asker.c')])
      for (const netns of Object.values(world.#names)) await world.#makeNamespace(netns)
      await world.#object.load()
      await world.attach()
      const { node } = world.#names
      using namespace = NetworkNamespace.open(`/run/netns/${node}`)
      const hostNetns = namespace.cookie()
      world.#map('sb_svc_config', u32, serviceConfig).set(0, {
        hostNetns,
        source4: '::',
        source6: '::',
      })
      return world
    } catch (error) {
      await world.close()
      throw error
    }
  }

  async #makeNamespace(netns: string): Promise<void> {
    execFileSync('ip', ['netns', 'add', netns])
    const ip = (...args: string[]) => execFileSync('ip', ['-n', netns, ...args])
    ip('link', 'set', 'lo', 'up')
    const own = Object.values(addresses).flatMap(({ node, backends }) => [node, ...backends])
    for (const address of own) ip('addr', 'add', address, 'dev', 'lo')
    const served = [...own, ...LOOPBACKS].flatMap((address) => [address, `${BACKEND_PORT}`])
    const child = this.#spawn(['ip', 'netns', 'exec', netns, this.#program, 'serve', ...served])
    await new Asker(child).next()
  }

  #spawn([command = '', ...args]: readonly string[]): ChildProcess {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.push(child)
    return child
  }

  /** A process there; our programs see its sockets unless it is outside of their cgroup. */
  async asker(where: 'node' | 'pod', { isOutside = false } = {}): Promise<Asker> {
    const enter = ['ip', 'netns', 'exec', this.#names[where], this.#program, 'ask']
    const join = ['sh', '-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', this.cgroup.path]
    const asker = new Asker(this.#spawn(isOutside ? enter : [...join, ...enter]))
    await asker.next()
    return asker
  }

  async attach(): Promise<void> {
    for (const hook of SOCKET_HOOKS) {
      const program = this.program(hook)
      this.#links.push(await BpfLink.createCgroup({ path: this.cgroup.path, hook, program }))
    }
  }

  detach(): void {
    for (const link of this.#links.splice(0)) link.close()
  }

  program(hook: CgroupHook): BpfProgram {
    return this.#object.program(`sb_${hook}`)
  }

  #map<K, V>(name: string, key: Codec<K>, value: Codec<V>): TypedMap<K, V> {
    return new TypedMap(this.#object.map(name), key, value)
  }

  /** Makes it so, in the order in which the agent does: nobody meets a half of it. */
  serve(spec: ServiceSpec): void {
    const { id, address, port, proto, backends, affinitySec = 0, flags = 0 } = spec
    const slots = this.#map('sb_slots', slotKey, slot)
    const ids = backends.map((one) => this.#backendId(one, proto))
    for (const [at, one] of ids.entries()) {
      slots.set({ list: id, slot: at + 1 }, { backend: one, weight: 1 })
      slots.set({ list: id, slot: SLOT_MEMBER + one }, { backend: at + 1, weight: 0 })
    }
    slots.set({ list: id, slot: 0 }, { backend: ids.length, weight: 0 })
    for (const one of this.#services.get(id)?.backends ?? []) {
      const gone = this.#backendId(one, proto)
      if (!ids.includes(gone)) slots.delete({ list: id, slot: SLOT_MEMBER + gone })
    }
    this.#map('sb_services', serviceKey, service).set(
      { addr: address, port, proto: PROTO[proto] },
      {
        id,
        flags: flags | (affinitySec > 0 ? SERVICE_AFFINITY : 0),
        internal: id,
        external: 0,
        affinitySec,
      },
    )
    this.#services.set(id, spec)
  }

  /** Other ports of it are refused. */
  own(address: string): void {
    this.#map('sb_services', serviceKey, service).set(
      { addr: address, port: 0, proto: 0 },
      { id: 0, flags: SERVICE_ADDRESS, internal: 0, external: 0, affinitySec: 0 },
    )
  }

  /** Of a service with SERVICE_SOURCE_RANGES, from now on. */
  admit(service: number, address: string): void {
    const ranges = this.#map('sb_src_ranges', sourceRangeKey, u32)
    ranges.set({ prefixLen: 32 + 128, service, addr: address }, 1)
  }

  setNodeAddress(address: string, flags: number): void {
    this.#map('sb_node_addrs', addr, u32).set(address, flags)
  }

  #backendId(address: string, proto: Proto): number {
    const key = `${address} ${proto}`
    const id = this.#backendIds.get(key) ?? this.#backendIds.size + 1
    if (!this.#backendIds.has(key)) {
      this.#backendIds.set(key, id)
      const row = { addr: address, port: BACKEND_PORT, proto: PROTO[proto], flags: 0 }
      this.#map('sb_backends', u32, backend).set(id, row)
    }
    return id
  }

  get affinities() {
    return [...this.#map('sb_affinity', affinityKey, affinity).entries()]
  }

  /** Who has a backend of that service has it since so many ticks more. */
  age(service: number, ticks: number): void {
    const rows = this.#map('sb_affinity', affinityKey, affinity)
    for (const [key, row] of this.affinities) {
      if (key.service === service) rows.set(key, { ...row, seen: (row.seen - ticks) >>> 0 })
    }
  }

  /** Chance takes the first backend, and the others only who has had one of them. Until it is served again. */
  drawFirst(service: number): void {
    const slots = this.#map('sb_slots', slotKey, slot)
    slots.set({ list: service, slot: 0 }, { backend: 1, weight: 0 })
  }

  /** Calls counted so far. */
  count(symbol: 'PASS_SERVICE' | 'PASS_REFUSED'): number {
    const { number } = OUTCOMES.find((one) => one.symbol === symbol) ?? { number: 0 }
    const counters = new TypedPerCpuMap(this.#object.map('sb_counters'), u32, counter)
    const perCpu = counters.get(counterIndex(PLACES.indexOf('socket'), number)) ?? []
    return perCpu.reduce((sum, { packets }) => sum + Number(packets), 0)
  }

  async close(): Promise<void> {
    this.detach()
    const ended = this.#children.map(async (child) => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await once(child, 'close')
      }
    })
    await Promise.all(ended)
    this.#object.close()
    for (const netns of Object.values(this.#names)) {
      execFileSync('ip', ['netns', 'del', netns], { stdio: 'ignore' })
    }
    this.cgroup.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
