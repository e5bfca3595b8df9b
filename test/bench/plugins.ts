// CNI plug-ins called inside a lab node as a runtime calls them, ours and Debian's reference ones, each call timed from exec to exit.
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LabError, type LabNode } from '../lab/index.ts'

/** Of the Debian package containernetworking-plugins. */
const REFERENCE_DIR = '/usr/lib/cni'

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

/** Calls plug-ins on one node, and makes and removes the namespaces for that. */
export class PluginCaller {
  readonly #node: LabNode
  readonly #caller: string
  readonly #dir: string

  constructor(node: LabNode, caller: string, dir: string) {
    this.#node = node
    this.#caller = caller
    this.#dir = dir
    mkdirSync(dir, { recursive: true })
  }

  async makeNamespaces(count: number): Promise<Call[]> {
    const names = Array.from({ length: count }, () => `bench-${randomBytes(8).toString('hex')}`)
    await this.#netns('add', names)
    return names.map((name) => ({
      containerId: randomBytes(32).toString('hex'),
      netns: `/run/netns/${name}`,
    }))
  }

  async removeNamespaces(calls: readonly Call[]): Promise<void> {
    await this.#netns(
      'del',
      calls.map(({ netns }) => netns.slice('/run/netns/'.length)),
    )
  }

  async call(
    verb: 'ADD' | 'DEL' | 'VERSION',
    plugin: Plugin,
    calls: readonly Call[],
    how: 'serial' | 'at-once' = 'serial',
  ): Promise<Timing> {
    const config = join(this.#dir, 'config.json')
    writeFileSync(config, JSON.stringify(plugin.config))
    const { stdout } = await this.#node.exec([this.#caller, how, config, plugin.program], {
      input: calls.map(({ containerId, netns }) => `${containerId} ${netns}\n`).join(''),
      timeoutMs: 300_000,
      env: {
        CNI_COMMAND: verb,
        CNI_IFNAME: 'eth0',
        CNI_PATH: `/opt/cni/bin:${REFERENCE_DIR}`,
      },
    })
    return parseTiming(stdout)
  }

  async #netns(verb: 'add' | 'del', names: readonly string[]): Promise<void> {
    const input = names.map((name) => `netns ${verb} ${name}\n`).join('')
    await this.#node.exec(['ip', '-batch', '-'], { input })
  }
}

/** Of plugin-caller.c: nanoseconds per line, then `total N`. */
export function parseTiming(output: string): Timing {
  const lines = output.trimEnd().split('\n')
  const total = /^total (\d+)$/.exec(lines.pop() ?? '')?.[1]
  if (total === undefined || !lines.every((line) => /^\d+$/.test(line))) {
    throw new LabError('command', `plugin-caller said ${JSON.stringify(output)}`)
  }
  return { each: lines.map((line) => Number(line) / 1e6), total: Number(total) / 1e6 }
}
