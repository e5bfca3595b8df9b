// `npm run test:kubernetes -- …`: a real cluster on this machine, our scenarios and upstream's specs; ends with `N passed, N failed`.
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { LEAST_RUNS } from '../bench/options.ts'
import { formatRows } from '../bench/row.ts'
import { closed } from '../lab/command.ts'
import { besideKubeProxy, LOGS_BESIDE_KUBE_PROXY } from './beside-kube-proxy.ts'
import { disown } from './claim.ts'
import { Cluster, type ClusterOptions } from './cluster.ts'
import { CONFORMANCE, makeE2eParts, runE2e, type Specs, WIDER } from './e2e.ts'
import { makeParts, NETWORK_NAMES, type NetworkName, raise } from './network.ts'
import { ADMIN_CONFIG, LOGS } from './places.ts'
import { podStart } from './pod-start.ts'
import { Report } from './report.ts'
import { addresses } from './scenarios/addresses.ts'
import { runScenarios } from './scenarios/run.ts'
import { runSourceSpecs } from './source/run.ts'
import { BINARIES, KUBERNETES_VERSION } from './versions.ts'

const USAGE = `npm run test:kubernetes -- [COMMAND] [OPTIONS]        (Kubernetes ${KUBERNETES_VERSION})

  (none)               raises a cluster, runs our scenarios and the conformance specs, takes it down; before, some beside kube-proxy
  up                   raises a cluster and leaves it up
  scenarios [NAME …]   our scenarios on the cluster that is up; only those whose names contain a NAME
  source               what reads the API server, against one of its own; needs no cluster
  e2e                  upstream's specs on the cluster that is up
  shell [NODE]         a shell where kubectl works, or on a node, or on 'outside'
  kubectl ARGS …       kubectl as administrator
  pod-start            from scheduled to Ready beside the reference plug-ins, on a cluster of its own, which it takes down
  build                the binaries and images only
  down                 takes the cluster down

  --nodes N            3
  --ipv4 | --ipv6      one family alone; --dual, which is the default, both
  --cni NAME           ${NETWORK_NAMES.join(', ')}
  --containerd 2       containerd 2 from its modules instead of Debian's
  --kube-proxy MODE    nftables, iptables, or none: services are ours (none; nftables with another network)
  --wider              upstream's ${WIDER.count} other specs of the network instead of the ${CONFORMANCE.count} of conformance; on a cluster with both families
  --focus RE --skip RE those whose names match, instead of either
  --processes N        of upstream's specs at a time (4)
  --pods N --runs N    for pod-start: at once (100), pairs of rounds (${LEAST_RUNS})
  --json FILE          its rows
  --keep               leaves the cluster up after a run without COMMAND

Logs are in ${LOGS} while a cluster is up, and after a run that failed;
those of a failure beside kube-proxy in ${LOGS_BESIDE_KUBE_PROXY}.`

class UsageError extends Error {}

function readOptions() {
  const argv = process.argv.slice(2)
  // What stands after `kubectl` is kubectl's own.
  const args = argv[0] === 'kubectl' ? ['kubectl', '--', ...argv.slice(1)] : argv
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        nodes: { type: 'string', default: '3' },
        dual: { type: 'boolean', default: false },
        ipv4: { type: 'boolean', default: false },
        ipv6: { type: 'boolean', default: false },
        cni: { type: 'string', default: 'sinabro' },
        containerd: { type: 'string', default: 'debian' },
        'kube-proxy': { type: 'string' },
        wider: { type: 'boolean', default: false },
        focus: { type: 'string' },
        skip: { type: 'string' },
        processes: { type: 'string', default: '4' },
        pods: { type: 'string', default: '100' },
        runs: { type: 'string', default: String(LEAST_RUNS) },
        json: { type: 'string' },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause })
  }
}

type Options = ReturnType<typeof readOptions>['values']

function clusterOptions(options: Options): ClusterOptions {
  const { nodes, dual, ipv4, ipv6, containerd, cni } = options
  const proxy = options['kube-proxy'] ?? (cni === 'sinabro' ? 'none' : 'nftables')
  if ([dual, ipv4, ipv6].filter(Boolean).length > 1) {
    throw new UsageError('one of --dual, --ipv4 and --ipv6')
  }
  return {
    nodes: wholeNumber('nodes', nodes, 9),
    families: ipv4 ? 'ipv4' : ipv6 ? 'ipv6' : 'dual',
    containerd: oneOf('containerd', containerd, ['debian', '2']),
    proxyMode: oneOf('kube-proxy', proxy, ['none', 'nftables', 'iptables']),
  }
}

function wholeNumber(option: string, text: string, most: number): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || number > most) {
    throw new UsageError(`--${option} ${text}: expected 1 to ${most}`)
  }
  return number
}

function oneOf<T extends string>(option: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((value) => value === text)
  if (found === undefined) {
    throw new UsageError(`--${option} ${text}: expected ${allowed.join(', ')}`)
  }
  return found
}

function chosenSpecs({ wider, focus, skip }: Options): Specs {
  if (wider && (focus ?? skip) !== undefined) throw new UsageError('--wider or --focus, not both')
  if (wider) return WIDER
  if (focus !== undefined) return { focus, skip }
  return skip === undefined ? CONFORMANCE : { focus: CONFORMANCE.focus, skip }
}

const say = (line: string): void => console.log(line)

async function all(options: Options, signal: AbortSignal): Promise<number> {
  const network = oneOf('cni', options.cni, NETWORK_NAMES) as NetworkName
  const wanted = clusterOptions(options)
  const specs = chosenSpecs(options)
  const report = new Report(say)
  let isRaised = false
  await report.guard(async () => {
    await makeE2eParts(say)
    const hasBoth = network === 'sinabro' && options['kube-proxy'] === undefined
    if (hasBoth) await besideKubeProxy(report, signal, say)
    // A full range is the same on both, and takes a minute.
    const tried = hasBoth ? addresses : []
    if (signal.aborted) throw new Error('interrupted')
    isRaised = true
    const cluster = await raise(wanted, network, say)
    for (const result of await runSourceSpecs(signal)) report.add(result)
    await runScenarios(cluster, report, [], signal, tried)
    if (!signal.aborted) await e2e(cluster, specs, options, report, signal)
    if (signal.aborted) throw new Error('interrupted')
  })
  await report.guard(async () => {
    if (options.keep) disown()
    // One that somebody else left up stays, if we did not get as far as to raise ours.
    else if (isRaised) await Cluster.down({ keepsLogs: report.hasFailed })
  })
  return report.end()
}

async function e2e(
  cluster: Cluster,
  specs: Specs,
  options: Options,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const processes = wholeNumber('processes', options.processes, 16)
  const images = await makeE2eParts(say)
  await Promise.all(cluster.nodes.map((node) => node.importImages(images)))
  for (const result of await runE2e(cluster, { specs, processes, signal })) report.add(result)
}

async function measure({ pods, runs, json }: Options): Promise<number> {
  const counts = { pods: wholeNumber('pods', pods, 100), runs: wholeNumber('runs', runs, 100) }
  let isMeasured = false
  try {
    const rows = await podStart(counts, say)
    say(formatRows(rows))
    if (json !== undefined) writeFileSync(json, `${JSON.stringify(rows, null, 2)}\n`)
    isMeasured = true
  } finally {
    await Cluster.down({ keepsLogs: !isMeasured })
  }
  return 0
}

/** A shell of the user's on a machine of the cluster; kubectl works in the control plane's. */
function shell(cluster: Cluster, name = 'control'): Promise<number> {
  const machines = [
    cluster.control.machine,
    cluster.outside,
    ...cluster.nodes.map((n) => n.machine),
  ]
  const machine = machines.find((candidate) => candidate.name === name)
  if (machine === undefined) {
    throw new UsageError(`no machine ${name}; there are ${machines.map((m) => m.name).join(', ')}`)
  }
  const env = { KUBECONFIG: ADMIN_CONFIG, PATH: `${BINARIES}:${process.env.PATH}` }
  const program = process.env.SHELL ?? '/bin/sh'
  return closed(machine.spawn([program], { stdio: 'inherit', env }))
}

async function main(): Promise<number> {
  const abort = new AbortController()
  process.once('SIGINT', () => abort.abort())
  process.once('SIGTERM', () => abort.abort())
  const { values, positionals } = readOptions()
  const [command, ...words] = positionals
  if (values.help) {
    say(USAGE)
    return 0
  }
  if (process.getuid?.() !== 0) throw new Error('it makes namespaces and cgroups: run it as root')
  const network = oneOf('cni', values.cni, NETWORK_NAMES) as NetworkName
  const report = new Report(say)
  switch (command) {
    case undefined:
      return all(values, abort.signal)
    case 'up': {
      const cluster = await raise(clusterOptions(values), network, say)
      cluster.keep()
      say(await cluster.kubectl('get', 'nodes', '-o', 'wide'))
      return 0
    }
    case 'scenarios':
      await runScenarios(Cluster.open(), report, words, abort.signal)
      return report.end()
    case 'source':
      for (const result of await runSourceSpecs(abort.signal)) report.add(result)
      return report.end()
    case 'e2e':
      await e2e(Cluster.open(), chosenSpecs(values), values, report, abort.signal)
      return report.end()
    case 'shell':
      return shell(Cluster.open(), words[0])
    case 'kubectl': {
      // Files are named as seen from here.
      const kubectl = [join(BINARIES, 'kubectl'), '--kubeconfig', ADMIN_CONFIG, ...words]
      const { machine } = Cluster.open().control
      const [program = '', ...args] = machine.enter(['env', '-C', process.cwd(), ...kubectl])
      return closed(spawn(program, args, { stdio: 'inherit' }))
    }
    case 'pod-start':
      return await measure(values)
    case 'build':
      // With what the short raise of a default run needs.
      await makeParts('2', say)
      await makeE2eParts(say)
      return 0
    case 'down':
      await Cluster.down()
      return 0
    default:
      throw new UsageError(`unknown command ${command}`)
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(`test:kubernetes: ${error instanceof Error ? error.message : String(error)}`)
  if (error instanceof UsageError) console.error(`\n${USAGE}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
