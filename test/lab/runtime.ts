// The container runtime's side of CNI on one machine: picks the configuration, calls the plugins of its list in order, with
// the environment and input of the CNI specification 1.0 (sections 3 and 4), and remembers results for CHECK and DEL.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LabError } from './errors.ts'
import type { Machine } from './machine.ts'

export type CniVerb = 'ADD' | 'DEL' | 'CHECK' | 'VERSION'

export interface Attachment {
  readonly containerId: string
  /** Path as the machine sees it; empty when the namespace is gone. */
  readonly netns: string
  readonly ifname: string
  readonly args: Readonly<Record<string, string>>
}

export interface CallOptions {
  /** A program and arguments that the plug-in's path is added to: what runs it. */
  readonly under?: readonly string[]
}

export interface PluginConfig {
  readonly type: string
  readonly [key: string]: unknown
}

export interface NetworkList {
  readonly cniVersion: string
  readonly name: string
  readonly plugins: readonly PluginConfig[]
  readonly [key: string]: unknown
}

export interface CniResult {
  readonly cniVersion?: string
  readonly interfaces?: readonly { name: string; mac?: string; sandbox?: string }[]
  readonly ips?: readonly { address: string; gateway?: string; interface?: number }[]
  readonly routes?: readonly { dst: string; gw?: string }[]
  readonly [key: string]: unknown
}

/** A plugin said no: its own error object, as far as it gave one. */
export class CniFailure extends LabError {
  readonly verb: CniVerb
  /** Exit code, or 128 + signal number. */
  readonly status: number
  readonly cniCode: number | undefined
  readonly details: string | undefined
  constructor(verb: CniVerb, type: string, status: number, stdout: string, stderr: string) {
    const body = parseObject(stdout)
    const cniCode = typeof body?.code === 'number' ? body.code : undefined
    const text = typeof body?.msg === 'string' ? body.msg : `${stdout}${stderr}`.trim()
    super('cni', `${verb} by ${type}: exit ${status}, code ${cniCode ?? 'none'}: ${text}`)
    this.name = 'CniFailure'
    this.verb = verb
    this.status = status
    this.cniCode = cniCode
    this.details = typeof body?.details === 'string' ? body.details : undefined
  }
}

const BIN_DIR = '/opt/cni/bin'

/** The first configuration by name, as runtimes choose; undefined while there is none. */
export function readNetworkList(confDir: string): NetworkList | undefined {
  const [first] = readdirSync(confDir)
    .filter((name) => /\.(conflist|conf|json)$/.test(name) && !name.startsWith('.'))
    .sort()
  if (first === undefined) return undefined
  const config = parseObject(readFileSync(join(confDir, first), 'utf8'))
  if (config === undefined) throw new LabError('config', `${first} is not a JSON object`)
  if (Array.isArray(config.plugins)) return config as NetworkList
  const { name, cniVersion } = config
  return { cniVersion, name, plugins: [config] } as unknown as NetworkList
}

export class Runtime {
  readonly #machine: Machine

  constructor(machine: Machine) {
    this.#machine = machine
  }

  networkList(): NetworkList {
    const list = readNetworkList(this.#machine.places.cniConfDir)
    if (list === undefined) {
      throw new LabError(
        'config',
        `${this.#machine.name} has no CNI configuration: is its agent ready?`,
      )
    }
    return list
  }

  async add(
    list: NetworkList,
    attachment: Attachment,
    options: CallOptions = {},
  ): Promise<CniResult> {
    let result: CniResult = {}
    let previous: CniResult | undefined
    for (const plugin of list.plugins) {
      const answer = await this.#call('ADD', list, plugin, attachment, previous, options)
      result = (parseObject(answer) ?? {}) as CniResult
      previous = result
    }
    return result
  }

  async check(list: NetworkList, attachment: Attachment, result: CniResult): Promise<void> {
    for (const plugin of list.plugins) await this.#call('CHECK', list, plugin, attachment, result)
  }

  async del(
    list: NetworkList,
    attachment: Attachment,
    result?: CniResult,
    options: CallOptions = {},
  ): Promise<void> {
    for (const plugin of list.plugins.toReversed()) {
      await this.#call('DEL', list, plugin, attachment, result, options)
    }
  }

  async #call(
    verb: CniVerb,
    { cniVersion, name }: NetworkList,
    plugin: PluginConfig,
    attachment: Attachment,
    prevResult: CniResult | undefined,
    { under = [] }: CallOptions = {},
  ): Promise<string> {
    // What a plugin gets is its own object with the list's name and version; `capabilities` is the runtime's business.
    const { capabilities: _, ...own } = plugin
    const config = { ...own, cniVersion, name, ...(prevResult === undefined ? {} : { prevResult }) }
    const { status, stdout, stderr } = await this.#machine.exec(
      [...under, join(BIN_DIR, plugin.type)],
      {
        input: JSON.stringify(config),
        canFail: true,
        env: {
          CNI_COMMAND: verb,
          CNI_CONTAINERID: attachment.containerId,
          CNI_NETNS: attachment.netns,
          CNI_IFNAME: attachment.ifname,
          CNI_ARGS: formatArgs(attachment.args),
          CNI_PATH: BIN_DIR,
        },
      },
    )
    if (status !== 0) throw new CniFailure(verb, plugin.type, status, stdout, stderr)
    return stdout
  }
}

function formatArgs(args: Readonly<Record<string, string>>): string {
  return Object.entries(args)
    .map(([key, value]) => `${key}=${value}`)
    .join(';')
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    return undefined
  }
  return undefined
}
