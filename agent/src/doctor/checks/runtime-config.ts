// Whether the container runtime finds our configuration, ours only, and what it needs beside it.
import { join } from 'node:path'
import { CNI_PLUGIN, CONFLIST_FILE } from '../../marks.ts'
import { type Check, type Finding, Skip } from '../finding.ts'
import type { World } from '../world.ts'

/** Runtimes read these endings, in the order of names, and take the first that they can. */
const ENDINGS = ['.conflist', '.conf', '.json']

export const cniConfiguration: Check<World> = {
  name: 'cni configuration',
  async run(world) {
    const { cniConfDir } = world.config
    const agent = await world.agent()
    const files = (world.folder(cniConfDir) ?? []).filter((name) => {
      return !name.startsWith('.') && ENDINGS.some((ending) => name.endsWith(ending))
    })
    if (!files.includes(CONFLIST_FILE)) {
      if ('error' in agent) throw new Skip('the agent writes its configuration once it is ready')
      return [absent(join(cniConfDir, CONFLIST_FILE), agent.status.ready)]
    }
    const findings: Finding[] = []
    const path = join(cniConfDir, CONFLIST_FILE)
    const wrong = whatIsWrong(world.file(path) ?? '')
    if (wrong !== undefined) {
      findings.push({
        level: 'error',
        found: `${path}: ${wrong}`,
        means: 'the runtime passes over it: pods get another network or none',
        do: `remove the file and restart the agent, which writes it again`,
      })
    }
    const before = files.slice(0, files.indexOf(CONFLIST_FILE))
    if (before.length > 0) {
      findings.push({
        level: 'error',
        found: `${before.join(', ')} in ${cniConfDir} comes before ${CONFLIST_FILE}`,
        means:
          'the runtime takes the first file by name: new pods get that network and not this one',
        do: `remove what is left of an earlier network: rm ${before.map((name) => join(cniConfDir, name)).join(' ')}`,
      })
    }
    return findings
  },
}

function absent(path: string, isReady: boolean): Finding {
  return isReady
    ? {
        level: 'error',
        found: `${path} is not there, although the agent is ready`,
        means: 'the runtime has no network for new pods',
        do: 'is --cni-conf-dir of the agent the directory that was looked at? Else restart the agent, and find out who removed it',
      }
    : {
        level: 'warning',
        found: `${path} is not there yet`,
        means: 'the agent writes it once it is ready, and is not',
        do: "'sinabro status' says what it waits for",
      }
}

/** What a runtime would not accept of our configuration. Pure. */
export function whatIsWrong(text: string): string | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    return `not JSON: ${error instanceof Error ? error.message : error}`
  }
  if (typeof parsed !== 'object' || parsed === null) return 'expected an object'
  const { name, cniVersion, plugins } = parsed as Readonly<Record<string, unknown>>
  if (typeof name !== 'string' || typeof cniVersion !== 'string') {
    return 'name or cniVersion is missing'
  }
  const types = Array.isArray(plugins)
    ? plugins.map((one: { type?: unknown } | null) => one?.type)
    : []
  return types.includes(CNI_PLUGIN) ? undefined : `no plug-in of type ${CNI_PLUGIN}`
}

export const runtimeDirectories: Check<World> = {
  name: 'runtime directories',
  run(world) {
    const { containerdConfig, cniConfDir, cniBinDir } = world.config
    const text = world.file(containerdConfig)
    if (text === undefined) {
      throw new Skip(
        `there is no ${containerdConfig}; another runtime, or containerd by its defaults`,
      )
    }
    const cni = readCniDirectories(text)
    const findings: Finding[] = []
    if (cni.confDir !== undefined && cni.confDir !== cniConfDir) {
      findings.push({
        level: 'error',
        found: `containerd reads network configurations in ${cni.confDir}, the agent writes to ${cniConfDir}`,
        means: 'containerd never sees ours: nodes stay NotReady or get another network',
        do: `start the agent with --cni-conf-dir ${cni.confDir}, or set conf_dir in ${containerdConfig}`,
      })
    }
    if (cni.binDirs.length > 0 && !cni.binDirs.includes(cniBinDir)) {
      findings.push({
        level: 'error',
        found: `containerd looks for plug-ins in ${cni.binDirs.join(', ')}, the agent installs to ${cniBinDir}`,
        means: `containerd does not find ${CNI_PLUGIN}: no pod starts`,
        do: `start the agent with --cni-bin-dir ${cni.binDirs[0]}, or set bin_dir in ${containerdConfig}`,
      })
    }
    return findings
  },
}

/**
 * conf_dir and bin_dir (bin_dirs since containerd 2) of the table that ends in `cni`; as much of TOML as such files use. Pure.
 */
export function readCniDirectories(toml: string): {
  readonly confDir: string | undefined
  readonly binDirs: readonly string[]
} {
  let isCni = false
  let confDir: string | undefined
  let binDirs: string[] = []
  for (const line of toml.split('\n')) {
    const table = /^\s*\[([^[\]]+)\]/.exec(line)?.[1]
    if (table !== undefined) {
      isCni = /\.cni$/.test(table.trim())
      continue
    }
    const [, key, value] = /^\s*(conf_dir|bin_dirs?)\s*=\s*(.+?)\s*(?:#.*)?$/.exec(line) ?? []
    if (!isCni || key === undefined || value === undefined) continue
    const texts = [...value.matchAll(/"([^"]*)"|'([^']*)'/g)].map((match) => match[1] ?? match[2])
    const paths = texts.filter((one) => one !== undefined && one !== '') as string[]
    if (key === 'conf_dir') confDir = paths[0]
    else binDirs = [...binDirs, ...paths]
  }
  return { confDir, binDirs }
}

export const plugins: Check<World> = {
  name: 'plug-ins',
  async run(world) {
    const { cniBinDir, containerdConfig } = world.config
    const agent = await world.agent()
    const findings: Finding[] = []
    const isContainerd =
      world.file(containerdConfig) !== undefined || world.folder('/run/containerd') !== undefined
    if (!world.isExecutable(join(cniBinDir, 'loopback'))) {
      findings.push({
        level: isContainerd ? 'error' : 'warning',
        found: `${join(cniBinDir, 'loopback')} is not there or not executable`,
        means: 'containerd before 2.0 calls it for every pod, and no pod starts without it',
        do: 'install the plug-ins of the CNI project: apt-get install containernetworking-plugins, then copy /usr/lib/cni/loopback there',
      })
    }
    const isReady = !('error' in agent) && agent.status.ready
    if (isReady && !world.isExecutable(join(cniBinDir, CNI_PLUGIN))) {
      findings.push({
        level: 'error',
        found: `${join(cniBinDir, CNI_PLUGIN)} is not there or not executable, although the agent is ready`,
        means: 'the runtime cannot call us: no pod starts or ends',
        do: 'restart the agent, which installs it, and find out who removed it',
      })
    }
    return findings
  },
}
