// What the checks look at: one node, by its namespace, its files and its agent. Reads only.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { get } from '../api/client.ts'
import type { Status } from '../api/status.ts'
import type { NodeView } from '../api/views.ts'
import type { DoctorConfig } from '../config.ts'
import { type Features, probeFeatures } from '../features/features.ts'
import { KernelSettings } from '../kernel-settings.ts'
import { codeOf } from '../runtime/log.ts'
import { Skip } from './finding.ts'

export interface WorldOptions {
  /** The node's, if it is not this process's. */
  readonly netns?: NetworkNamespace
  /** Before every absolute path of a file. */
  readonly root?: string
  /** Enters the namespace before a command: ['nsenter', '--net=…']. */
  readonly enter?: readonly string[]
  /** What the kernel has, if not what is found by trying. */
  readonly features?: Features
}

/** What the agent says, or why it says nothing. */
export type AgentWord =
  | { readonly status: Status; readonly nodes: readonly NodeView[] }
  | { readonly error: string }

export class World {
  readonly config: DoctorConfig
  readonly netlink: RouteNetlink
  readonly settings: KernelSettings
  readonly #root: string
  readonly #enter: readonly string[]
  readonly #netns: NetworkNamespace
  #agent: Promise<AgentWord> | undefined
  #features: Promise<Features> | undefined

  constructor(config: DoctorConfig, { netns, root = '', enter = [], features }: WorldOptions = {}) {
    this.config = config
    this.#netns = netns ?? NetworkNamespace.current()
    this.netlink = RouteNetlink.open({ netns: this.#netns })
    this.settings = new KernelSettings(this.#netns)
    this.#root = root
    this.#enter = enter
    if (features !== undefined) this.#features = Promise.resolve(features)
  }

  /** A file of /proc/net of the node: of the thread that looks, for /proc/net itself is that of the process. */
  procNet(name: string): string {
    return this.#netns.readFile(`/proc/thread-self/net/${name}`)
  }

  /** Undefined when it is not there. */
  file(path: string): string | undefined {
    try {
      return readFileSync(join(this.#root, path), 'utf8')
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw error
    }
  }

  /** Names in order; undefined when there is no such folder. */
  folder(path: string): readonly string[] | undefined {
    try {
      return readdirSync(join(this.#root, path)).sort()
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw error
    }
  }

  isExecutable(path: string): boolean {
    try {
      const stats = statSync(join(this.#root, path))
      return stats.isFile() && (stats.mode & 0o111) !== 0
    } catch (error) {
      if (isAbsent(error)) return false
      throw error
    }
  }

  /** What the command prints, in the node's namespace. @throws Skip if it is not installed or fails */
  command(program: string, ...args: string[]): Promise<string> {
    return run([...this.#enter, program, ...args])
  }

  /** Tried once. @throws FeatureError bpf-refused */
  features(): Promise<Features> {
    this.#features ??= probeFeatures()
    return this.#features
  }

  /** Asked once. */
  agent(): Promise<AgentWord> {
    this.#agent ??= askAgent(this.config.socket)
    return this.#agent
  }

  /** That of the agent; without one, a tunnel is taken for granted. */
  async hasTunnel(): Promise<boolean> {
    const agent = await this.agent()
    return 'error' in agent || agent.status.facts['tunnel mode'] !== 'none'
  }

  /** @throws Skip without an agent */
  async running(): Promise<Exclude<AgentWord, { error: string }>> {
    const agent = await this.agent()
    if ('error' in agent) throw new Skip('only a running agent knows; none answers')
    return agent
  }

  [Symbol.dispose](): void {
    this.netlink.close()
    this.#netns.close()
  }
}

async function askAgent(socket: string): Promise<AgentWord> {
  try {
    const status = (await get('/v1/status', { socket })) as Status
    const { nodes } = (await get('/v1/nodes', { socket })) as { nodes: readonly NodeView[] }
    return { status, nodes }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

function run(command: readonly string[]): Promise<string> {
  const [program = '', ...args] = command
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 10_000 })
    let output = ''
    let complaint = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint += text
    })
    child.on('error', (error) => {
      const text = codeOf(error) === 'ENOENT' ? 'is not installed' : error.message
      reject(new Skip(`${program} ${text}`))
    })
    child.on('close', (status) => {
      if (status === 0) resolve(output)
      else reject(new Skip(`${command.join(' ')}: ${complaint.trim() || `exit ${status}`}`))
    })
  })
}

function isAbsent(error: unknown): boolean {
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR'
}
