// CNI plug-ins called as a runtime calls them, ours and Debian's reference ones, each call timed from exec to exit.
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandOptions, CommandResult } from '../lab/command.ts'
import { LabError } from '../lab/index.ts'

/** Of the Debian package containernetworking-plugins. */
const REFERENCE_DIR = '/usr/lib/cni'
const CALLS_TIMEOUT_MS = 600_000

export interface Plugin {
  readonly name: string
  readonly program: string
  readonly config: Readonly<Record<string, unknown>>
}

export interface Call {
  readonly containerId: string
  /** Path as the node names it. */
  readonly netns: string
}

export interface Timing {
  /** Milliseconds of each call. */
  readonly each: readonly number[]
  readonly total: number
}

/** As the agent on the node has configured it. */
export function ownPlugin(list: {
  readonly cniVersion: string
  readonly name: string
  readonly plugins: readonly Readonly<Record<string, unknown>>[]
}): Plugin {
  const { cniVersion, name, plugins } = list
  const config = { ...plugins[0], cniVersion, name }
  return { name: 'sinabro', program: '/opt/cni/bin/sinabro-cni', config }
}

/** A range per family, and where host-local keeps its records: on the same disk as ours. */
export function referencePlugin(
  type: 'ptp' | 'bridge',
  subnets: readonly string[],
  dataDir: string,
): Plugin {
  const program = join(REFERENCE_DIR, type)
  if (!existsSync(program)) {
    throw new LabError(
      'absent',
      `${program} is missing: apt-get install containernetworking-plugins`,
    )
  }
  const name = `${type}-${subnets.length}`
  const bridge = { bridge: `br-${name}`, isGateway: true, hairpinMode: false }
  const config = {
    cniVersion: '1.0.0',
    name,
    type,
    ...(type === 'bridge' ? bridge : {}),
    ipMasq: false,
    ipam: {
      type: 'host-local',
      dataDir,
      ranges: subnets.map((subnet) => [{ subnet }]),
      routes: subnets.map((subnet) => ({ dst: subnet.includes(':') ? '::/0' : '0.0.0.0/0' })),
    },
  }
  return { name: `${type} + host-local`, program, config }
}

/** Where plug-ins run: a lab node, or this machine. */
export interface Host {
  exec(argv: readonly string[], options?: CommandOptions): Promise<CommandResult>
}

export class PluginCaller {
  readonly #host: Host
  readonly #caller: string
  readonly #config: string
  #netns: string[] = []

  /** `caller` is the compiled plugin-caller.c; configurations are written to `dir`. */
  constructor(host: Host, caller: string, dir: string) {
    this.#host = host
    this.#caller = caller
    mkdirSync(dir, { recursive: true })
    this.#config = join(dir, 'config.json')
  }

  /**
   * As many new containers. Their namespaces are those of earlier ones, made once: making and removing them keeps the kernel
   * busy long after the command has returned, and that would fall into somebody's measurement.
   */
  async containers(count: number): Promise<Call[]> {
    const missing = Math.max(0, count - this.#netns.length)
    const names = Array.from({ length: missing }, () => `bench-${randomBytes(8).toString('hex')}`)
    const input = names.map((name) => `netns add ${name}\n`).join('')
    if (missing > 0) await this.#host.exec(['ip', '-batch', '-'], { input })
    this.#netns.push(...names.map((name) => `/run/netns/${name}`))
    return this.#netns.slice(0, count).map((netns) => ({
      containerId: randomBytes(32).toString('hex'),
      netns,
    }))
  }

  async call(
    verb: 'ADD' | 'DEL' | 'VERSION',
    plugin: Plugin,
    calls: readonly Call[],
    how: 'serial' | 'at-once' = 'serial',
  ): Promise<Timing> {
    writeFileSync(this.#config, JSON.stringify(plugin.config))
    const { stdout } = await this.#host.exec([this.#caller, how, this.#config, plugin.program], {
      input: calls.map(({ containerId, netns }) => `${containerId} ${netns}\n`).join(''),
      timeoutMs: CALLS_TIMEOUT_MS,
      env: { CNI_COMMAND: verb, CNI_IFNAME: 'eth0', CNI_PATH: REFERENCE_DIR },
    })
    return parseTiming(stdout)
  }
}

/** Of plugin-caller.c: nanoseconds per line, then `total N`. In milliseconds. */
export function parseTiming(output: string): Timing {
  const lines = output.trimEnd().split('\n')
  const total = /^total (\d+)$/.exec(lines.pop() ?? '')?.[1]
  if (total === undefined || !lines.every((line) => /^\d+$/.test(line))) {
    throw new LabError('command', `plugin-caller said ${JSON.stringify(output)}`)
  }
  return { each: lines.map((line) => Number(line) / 1e6), total: Number(total) / 1e6 }
}
