// A lab pod: a network namespace made as a runtime makes it and connected by real CNI calls; what the runtime must remember
// is on disk before the first call, so that a pod of an interrupted run can still be deleted.
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeCgroup } from './cgroup.ts'
import type { CommandOptions, CommandResult } from './command.ts'
import { LabError } from './errors.ts'
import type { Machine } from './machine.ts'
import { checkName } from './plan.ts'
import {
  type Attachment,
  type CallOptions,
  type CniResult,
  type NetworkList,
  Runtime,
} from './runtime.ts'

interface PodRecord {
  readonly name: string
  readonly namespace: string
  readonly attachment: Attachment
  readonly list: NetworkList
  readonly result?: CniResult
}

export interface PodOptions {
  readonly namespace?: string
  readonly ifname?: string
  /** Members put into our plugin's object of the configuration, as an operator might. */
  readonly plugin?: Readonly<Record<string, unknown>>
}

const IFNAME = 'eth0'

export class Pod {
  readonly machine: Machine
  readonly #runtime: Runtime
  #record: PodRecord

  private constructor(machine: Machine, record: PodRecord) {
    this.machine = machine
    this.#runtime = new Runtime(machine)
    this.#record = record
  }

  /** What a runtime does for a new pod: namespace, loopback, ADD; after a failed ADD a DEL, and the namespace goes. */
  static async create(machine: Machine, name: string, options: PodOptions = {}): Promise<Pod> {
    const pod = await Pod.prepare(machine, name, options)
    try {
      await pod.add()
    } catch (error) {
      await pod.remove()
      throw error
    }
    return pod
  }

  /** The namespace alone; the caller makes the CNI calls. */
  static async prepare(machine: Machine, name: string, options: PodOptions = {}): Promise<Pod> {
    const namespace = checkName('namespace', options.namespace ?? 'default')
    checkName('pod', name)
    if (Pod.list(machine).some((pod) => pod.name === name)) {
      throw new LabError('in-use', `${machine.name} has a pod ${name} already`)
    }
    const containerId = randomBytes(32).toString('hex')
    const pod = new Pod(machine, {
      name,
      namespace,
      list: withMembers(new Runtime(machine).networkList(), options.plugin ?? {}),
      attachment: {
        containerId,
        netns: `/run/netns/cni-${randomUUID()}`,
        ifname: options.ifname ?? IFNAME,
        args: {
          IgnoreUnknown: '1',
          K8S_POD_NAMESPACE: namespace,
          K8S_POD_NAME: name,
          K8S_POD_INFRA_CONTAINER_ID: containerId,
          K8S_POD_UID: randomUUID(),
        },
      },
    })
    pod.#save()
    await machine.exec(['ip', 'netns', 'add', pod.#netnsName])
    await machine.exec(['ip', '-n', pod.#netnsName, 'link', 'set', 'lo', 'up'])
    return pod
  }

  static list(machine: Machine): Pod[] {
    const { podsDir } = machine.places
    return readdirSync(podsDir)
      .filter((file) => file.endsWith('.json'))
      .map((file) => JSON.parse(readFileSync(join(podsDir, file), 'utf8')) as PodRecord)
      .map((record) => new Pod(machine, record))
      .sort((a, b) => a.name.localeCompare(b.name))
  }

  get name(): string {
    return this.#record.name
  }

  get attachment(): Attachment {
    return this.#record.attachment
  }

  get result(): CniResult {
    return this.#record.result ?? {}
  }

  /** Addresses from the answer to ADD, without prefix length. */
  get addresses(): string[] {
    return (this.result.ips ?? []).map(({ address }) => address.split('/')[0] ?? address)
  }

  address(family: 4 | 6): string {
    const found = this.addresses.find((address) => address.includes(':') === (family === 6))
    if (found === undefined)
      throw new LabError('absent', `${this.name} has no IPv${family} address`)
    return found
  }

  async add(options: CallOptions = {}): Promise<CniResult> {
    const { list, attachment } = this.#record
    const result = await this.#runtime.add(list, attachment, options)
    this.#record = { ...this.#record, result }
    this.#save()
    return result
  }

  check(): Promise<void> {
    return this.#runtime.check(this.#record.list, this.#record.attachment, this.result)
  }

  /** The verb alone, for tests of repeated and late DELs. */
  del(options: CallOptions = {}): Promise<void> {
    const { list, attachment, result } = this.#record
    return this.#runtime.del(list, attachment, result, options)
  }

  /** Ends the pod's processes, DEL, removes its namespace. */
  async remove(): Promise<void> {
    await this.stop()
    await this.del()
    await this.forget()
  }

  /** Without a DEL: the namespace goes, and what the runtime knew. */
  async forget(): Promise<void> {
    await this.removeNetns()
    rmSync(this.#file, { force: true })
  }

  /** Ends the pod's processes. */
  stop(): Promise<void> {
    return removeCgroup(join(this.machine.state.cgroup, this.#cgroup))
  }

  async removeNetns(): Promise<void> {
    await this.machine.exec(['ip', 'netns', 'del', this.#netnsName], { canFail: true })
  }

  exec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return this.machine.exec(argv, { ...options, ...this.inside })
  }

  get inside(): { readonly netns: string; readonly cgroup: string } {
    return { netns: this.#record.attachment.netns, cgroup: this.#cgroup }
  }

  get #cgroup(): string {
    return `pod-${this.#record.name}`
  }

  get #netnsName(): string {
    return this.#record.attachment.netns.slice('/run/netns/'.length)
  }

  get #file(): string {
    return join(this.machine.places.podsDir, `${this.#record.name}.json`)
  }

  #save(): void {
    mkdirSync(this.machine.places.podsDir, { recursive: true })
    writeFileSync(`${this.#file}.new`, JSON.stringify(this.#record, null, 2))
    renameSync(`${this.#file}.new`, this.#file)
  }
}

function withMembers(list: NetworkList, members: Readonly<Record<string, unknown>>): NetworkList {
  const [first, ...rest] = list.plugins
  return first === undefined ? list : { ...list, plugins: [{ ...first, ...members }, ...rest] }
}
