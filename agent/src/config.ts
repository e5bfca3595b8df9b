// The only reader of the command line and the environment: what is asked for, checked, as one plain object.
import { readFileSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { LOG_LEVELS, type LogLevel } from './runtime/log.ts'

export interface AgentConfig {
  readonly source: Source
  readonly nodeName: string
  readonly stateDir: string
  readonly runDir: string
  readonly bpfDir: string
  readonly cniConfDir: string
  readonly cniBinDir: string
  readonly tunnelPort: number
  readonly vni: number
  readonly tunnelFamily: 'auto' | 4 | 6
  /** Ranges of the whole cluster beyond those of the Node objects. */
  readonly clusterCidrs: readonly string[]
  readonly attach: 'auto' | 'tcx' | 'clsact'
  readonly masquerade: 'nftables' | 'none'
  /** How long a pod that is gone without a DEL keeps its addresses; seen gone at both ends of it. */
  readonly reclaimGraceSec: number
  /** Loopback only; absent: metrics and probes are on the socket alone. */
  readonly metricsAddress?: HostPort
  readonly logLevel: LogLevel
  /** For kill tests: the process ends itself at the n-th pass of a named point. */
  readonly crashAt?: CrashAt
}

export interface Source {
  readonly kind: 'manifests'
  readonly dir: string
}

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface CrashAt {
  readonly point: string
  readonly pass: number
}

export type OutputFormat = 'table' | 'json' | 'yaml'

export interface ViewConfig {
  readonly socket: string
  readonly output: OutputFormat
}

export interface UninstallConfig
  extends Pick<AgentConfig, 'stateDir' | 'runDir' | 'bpfDir' | 'cniConfDir' | 'cniBinDir'> {
  readonly isForced: boolean
}

export type Request =
  | { readonly command: 'agent'; readonly config: AgentConfig }
  | { readonly command: 'status' | 'pods'; readonly view: ViewConfig }
  | { readonly command: 'uninstall'; readonly config: UninstallConfig }
  | { readonly command: 'version' }
  /** Help was shown, or the command line was wrong and the reason has been printed. */
  | { readonly command: 'none'; readonly exitCode: number }

/** Documented in `sinabro --help`; scripts rely on them. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, degraded: 4 } as const

const EXIT_HELP = `
Exit codes:
  0  done
  1  failed; the message says why
  2  the command line was wrong
  3  no agent answers
  4  the agent answers, and is not ready or something in it does not work`

const AGENT_HELP = `
Example: two nodes described in one directory, this machine being node-1
  mkdir -p /etc/sinabro/cluster
  cat > /etc/sinabro/cluster/nodes.yaml <<EOF
  apiVersion: v1
  kind: Node
  metadata: { name: node-1 }
  spec: { podCIDRs: [10.244.1.0/24, "fd00:244:1::/64"] }
  status: { addresses: [{ type: InternalIP, address: 192.0.2.1 }] }
  ---
  apiVersion: v1
  kind: Node
  metadata: { name: node-2 }
  spec: { podCIDRs: [10.244.2.0/24, "fd00:244:2::/64"] }
  status: { addresses: [{ type: InternalIP, address: 192.0.2.2 }] }
  EOF
  sinabro agent --source manifests:/etc/sinabro/cluster --node-name node-1

It needs root. It may be stopped, killed and started again at any time: pods keep their network meanwhile.
Once it is ready ('sinabro status') the container runtime finds its configuration in --cni-conf-dir.`

const STATE_DIR = '/var/lib/sinabro'
const RUN_DIR = '/run/sinabro'
const BPF_DIR = '/sys/fs/bpf/sinabro'
const CNI_CONF_DIR = '/etc/cni/net.d'
const CNI_BIN_DIR = '/opt/cni/bin'

export interface Streams {
  out(text: string): void
  err(text: string): void
}

/** `argv` without the program and script. */
export function readCommandLine(argv: readonly string[], streams: Streams): Request {
  let request: Request = { command: 'none', exitCode: EXIT.usage }
  const program = describeProgram((asked) => {
    request = asked
  })
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .showHelpAfterError("(try 'sinabro --help', or --help after the command)")
      .configureOutput({ writeOut: streams.out, writeErr: streams.err })
  }
  try {
    program.parse(argv, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return { command: 'none', exitCode: error.exitCode === 0 ? EXIT.ok : EXIT.usage }
  }
  return request
}

function describeProgram(ask: (request: Request) => void): Command {
  const program = new Command('sinabro')
    .description(
      'A node network for Kubernetes: one agent per node, and these commands to look at it.',
    )
    .version(version(), '-V, --version', 'print the version')
    .addHelpText('after', EXIT_HELP)
  program
    .command('agent')
    .description('run the agent of this node in the foreground')
    .addOption(
      new Option('--source <kind:where>', 'where the Kubernetes objects come from: manifests:DIR')
        .env('SINABRO_SOURCE')
        .argParser(parseSource)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--node-name <name>', 'name of the Node object that is this machine')
        .env('SINABRO_NODE_NAME')
        .default(hostname().toLowerCase(), 'the host name in lower case'),
    )
    .addOption(stateDirOption())
    .addOption(runDirOption())
    .addOption(bpfDirOption())
    .addOption(cniConfDirOption())
    .addOption(cniBinDirOption())
    .addOption(
      new Option('--tunnel-port <port>', 'UDP port of the tunnel between nodes, the same on all')
        .env('SINABRO_TUNNEL_PORT')
        .argParser(wholeNumber(1, 65_535))
        .default(8472),
    )
    .addOption(
      new Option('--vni <number>', 'VXLAN network identifier, the same on all nodes')
        .env('SINABRO_VNI')
        .argParser(wholeNumber(1, (1 << 24) - 1))
        .default(1),
    )
    .addOption(
      new Option('--tunnel-family <family>', "which of the nodes' addresses the tunnel uses")
        .env('SINABRO_TUNNEL_FAMILY')
        .choices(['auto', '4', '6'])
        .default('auto', 'auto: that of the first InternalIP'),
    )
    .addOption(
      new Option('--cluster-cidrs <ranges>', 'pod ranges of the whole cluster, comma separated')
        .env('SINABRO_CLUSTER_CIDRS')
        .argParser((text: string) => text.split(',').filter((range) => range !== ''))
        .default([], 'what the Node objects say'),
    )
    .addOption(
      new Option('--attach <way>', 'how programs are attached to devices')
        .env('SINABRO_ATTACH')
        .choices(['auto', 'tcx', 'clsact'])
        .default('auto', 'auto: tcx where the kernel has it (6.6), else clsact'),
    )
    .addOption(
      new Option(
        '--masquerade <way>',
        'how pods get out of the cluster under the address of the node',
      )
        .env('SINABRO_MASQUERADE')
        .choices(['nftables', 'none'])
        .default('nftables'),
    )
    .addOption(
      new Option(
        '--reclaim-grace-sec <seconds>',
        'how long a pod that is gone without a DEL keeps its addresses',
      )
        .env('SINABRO_RECLAIM_GRACE_SEC')
        .argParser(wholeNumber(1, 86_400))
        .default(60),
    )
    .addOption(
      new Option(
        '--metrics-address <address>',
        'serve /metrics, /healthz and /readyz there too: 127.0.0.1:PORT or [::1]:PORT',
      )
        .env('SINABRO_METRICS_ADDRESS')
        .argParser(parseLoopback)
        .default(undefined, 'on the socket only'),
    )
    .addOption(
      new Option('--lib-dir <dir>', 'where the addons, the eBPF objects and sinabro-cni are')
        .argParser(directory)
        .default(undefined, 'beside this program'),
    )
    .addOption(
      new Option('--log-level <level>', 'log lines below this are left out')
        .env('SINABRO_LOG_LEVEL')
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .addOption(
      new Option('--crash-at <point[:pass]>', 'end at a named point, for tests')
        .env('SINABRO_CRASH_AT')
        .argParser(parseCrashAt)
        .hideHelp(),
    )
    .addHelpText('after', AGENT_HELP)
    .action((options: AgentOptions) => {
      useLibDir(options.libDir)
      const { libDir: _, tunnelFamily, ...config } = options
      ask({
        command: 'agent',
        config: {
          ...config,
          tunnelFamily: tunnelFamily === 'auto' ? 'auto' : tunnelFamily === '4' ? 4 : 6,
        },
      })
    })
  for (const [name, what] of [
    ['status', 'whether the agent of this node works, and what does not'],
    ['pods', 'the pods of this node and their addresses'],
  ] as const) {
    program
      .command(name)
      .description(what)
      .addOption(runDirOption())
      .addOption(
        new Option('-o, --output <format>', 'table for people, json and yaml for programs')
          .choices(['table', 'json', 'yaml'])
          .default('table'),
      )
      .action((options: { runDir: string; output: OutputFormat }) => {
        const view = { socket: socketPath(options.runDir), output: options.output }
        ask({ command: name, view })
      })
  }
  program
    .command('uninstall')
    .description('take everything of Sinabro off this node, once the agent is stopped')
    .addOption(stateDirOption())
    .addOption(runDirOption())
    .addOption(bpfDirOption())
    .addOption(cniConfDirOption())
    .addOption(cniBinDirOption())
    .option('--force', 'also when pods are left: they lose their network', false)
    .action(({ force, ...config }: Omit<UninstallConfig, 'isForced'> & { force: boolean }) =>
      ask({ command: 'uninstall', config: { ...config, isForced: force } }),
    )
  program
    .command('version')
    .description('print the version')
    .action(() => ask({ command: 'version' }))
  return program
}

type AgentOptions = Omit<AgentConfig, 'tunnelFamily'> & {
  readonly tunnelFamily: 'auto' | '4' | '6'
  readonly libDir: string | undefined
}

export function socketPath(runDir: string): string {
  return `${runDir}/agent.sock`
}

/** The version of the package; the bundle has it built in. */
export function version(): string {
  if (typeof SINABRO_VERSION === 'string') return SINABRO_VERSION
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return String((JSON.parse(text) as { version: unknown }).version)
}
declare const SINABRO_VERSION: unknown

/** The packages that load files from there read this one variable, when they first need it. */
function useLibDir(dir: string | undefined): void {
  if (dir !== undefined) process.env.SINABRO_LIB_DIR = dir
}

/** Where the built parts are, if not in the source tree. */
export function libDir(): string | undefined {
  return process.env.SINABRO_LIB_DIR
}

const stateDirOption = (): Option => dirOption('state', 'what must survive a reboot', STATE_DIR)
const runDirOption = (): Option => dirOption('run', "where the agent's socket is", RUN_DIR)
const bpfDirOption = (): Option =>
  dirOption('bpf', 'where programs and maps are pinned, on a BPF file system', BPF_DIR)
const cniConfDirOption = (): Option =>
  dirOption('cni-conf', 'where the container runtime reads network configurations', CNI_CONF_DIR)
const cniBinDirOption = (): Option =>
  dirOption('cni-bin', 'where the container runtime looks for plug-ins', CNI_BIN_DIR)

function dirOption(name: string, what: string, where: string): Option {
  return new Option(`--${name}-dir <dir>`, what)
    .env(`SINABRO_${name.toUpperCase().replace('-', '_')}_DIR`)
    .argParser(directory)
    .default(where)
}

function directory(text: string): string {
  if (text === '') throw new InvalidArgumentError('expected a directory')
  return resolve(text)
}

function parseSource(text: string): Source {
  const [, kind, dir] = /^([a-z]+):(.+)$/.exec(text) ?? []
  if (kind !== 'manifests' || dir === undefined) {
    throw new InvalidArgumentError('expected manifests:DIR, a directory with YAML files')
  }
  return { kind, dir: resolve(dir) }
}

/** Whoever can reach it reads which pods there are and how much they talk; so nobody beyond this machine. */
function parseLoopback(text: string): HostPort {
  const [, v4, v6, digits] = /^(?:([0-9.]+)|\[([0-9a-f:]+)\]):(\d{1,5})$/i.exec(text) ?? []
  const host = v4 ?? v6 ?? ''
  const port = Number(digits)
  const isLoopback = (isIPv4(host) && host.startsWith('127.')) || host === '::1'
  if (isLoopback && port >= 1 && port <= 65_535) return { host, port }
  throw new InvalidArgumentError(
    'expected a loopback address with a port, 127.0.0.1:PORT or [::1]:PORT; others could be reached from the network',
  )
}

function parseCrashAt(text: string): CrashAt {
  const [, point, pass] = /^(.*?)(?::(\d+))?$/.exec(text) ?? []
  if (point === undefined || point === '') throw new InvalidArgumentError('expected a point')
  return { point, pass: Number(pass ?? 1) }
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}`)
  }
}
