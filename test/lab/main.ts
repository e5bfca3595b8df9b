// `npm run lab -- …`: the lab from the command line.
import { closed } from './command.ts'
import { LabError } from './errors.ts'
import { Lab } from './lab.ts'
import type { Machine } from './machine.ts'
import type { LabNode } from './node.ts'
import type { Families } from './plan.ts'

const USAGE = `npm run lab -- COMMAND [--name LAB]

  up [--nodes N] [--families dual|ipv4|ipv6] [--mtu BYTES] [--bare] [--bundle]
                              raises a lab of N nodes (2) with agents; --bare: without agents,
                              --bundle: agents from the bundle that ships, not from the sources
  list                        labs that are up
  status                      nodes, their agents and pods
  pods                        every pod: node, name, addresses
  shell NODE [POD]            a shell on a node, on 'outside', or in a pod
  exec NODE[/POD] -- CMD …    one command there; exits with its status
  pod add NODE NAME           a new pod, connected by the real executable
  pod rm NODE NAME            its end
  agent start|stop|kill NODE  the agent of a node: start it, SIGTERM, SIGKILL
  down                        takes the lab down

LAB is 'lab' unless --name says otherwise; several labs stand side by side.`

interface Arguments {
  readonly words: readonly string[]
  readonly options: ReadonlyMap<string, string>
  readonly command: readonly string[]
}

const FLAGS = new Set(['bare', 'bundle', 'help'])
const SETTINGS = new Set(['name', 'nodes', 'families', 'mtu'])

function parseArguments(argv: readonly string[]): Arguments {
  const words: string[] = []
  const options = new Map<string, string>()
  const end = argv.indexOf('--')
  const own = end < 0 ? argv : argv.slice(0, end)
  for (let i = 0; i < own.length; i++) {
    const word = own[i] ?? ''
    const name = word.replace(/^--/, '')
    if (!word.startsWith('--')) words.push(word)
    else if (FLAGS.has(name)) options.set(name, 'true')
    else if (SETTINGS.has(name)) {
      const value = own[++i]
      if (value === undefined) throw new UsageError(`--${name} needs a value`)
      options.set(name, value)
    } else throw new UsageError(`unknown option ${word}`)
  }
  return { words, options, command: end < 0 ? [] : argv.slice(end + 1) }
}

class UsageError extends Error {}

async function up(name: string, options: ReadonlyMap<string, string>): Promise<void> {
  const families = (options.get('families') ?? 'dual') as Families
  if (!['dual', 'ipv4', 'ipv6'].includes(families)) throw new UsageError(`--families ${families}?`)
  const lab = await Lab.up({
    name,
    nodes: wholeNumber('nodes', options.get('nodes') ?? '2'),
    families,
    underlayMtu: wholeNumber('mtu', options.get('mtu') ?? '1500'),
  })
  if (!options.has('bare')) {
    try {
      for (const node of lab.nodes) startAgent(node, options)
      await Promise.all(lab.nodes.map((node) => node.agent.waitReady()))
    } catch (error) {
      await lab.down()
      throw error
    }
  }
  lab.keep()
  console.log(`lab ${name} is up`)
  status(lab)
}

function startAgent(node: LabNode, options: ReadonlyMap<string, string>): void {
  node.agent.start({ from: options.has('bundle') ? 'bundle' : 'source' })
}

function status(lab: Lab): void {
  for (const node of lab.nodes) {
    const agent = node.agent.pids().length > 0 ? 'agent runs' : 'no agent'
    const pods = `${node.pods().length} pods`
    console.log(`${node.name}  ${node.plan.internalIps.join(' ')}  ${agent}  ${pods}`)
  }
  console.log(`manifests: ${lab.manifests.dir}`)
}

function pods(lab: Lab): void {
  for (const node of lab.nodes) {
    for (const pod of node.pods()) {
      console.log(`${node.name}  ${pod.name}  ${pod.addresses.join(' ') || '(not connected)'}`)
    }
  }
}

/** Runs a command on NODE, NODE/POD or outside with our terminal. */
async function exec(lab: Lab, where: string, command: readonly string[]): Promise<number> {
  const [machineName = '', podName] = where.split('/')
  const machine = machineNamed(lab, machineName)
  const inside = podName === undefined ? {} : lab.nodeNamed(machineName).pod(podName).inside
  return closed(machine.spawn(command, { ...inside, stdio: 'inherit' }))
}

function machineNamed(lab: Lab, name: string): Machine {
  return name === lab.outside.name ? lab.outside : lab.nodeNamed(name).machine
}

async function podCommand(lab: Lab, [verb, node = '', name = '']: readonly string[]) {
  if (verb === 'add') {
    const pod = await lab.nodeNamed(node).addPod(name)
    console.log(`${node}  ${pod.name}  ${pod.addresses.join(' ')}`)
  } else if (verb === 'rm') await lab.nodeNamed(node).pod(name).remove()
  else throw new UsageError('pod add NODE NAME or pod rm NODE NAME')
}

async function agentCommand(
  lab: Lab,
  [verb, name = '']: readonly string[],
  options: ReadonlyMap<string, string>,
): Promise<void> {
  const node = lab.nodeNamed(name)
  if (verb === 'start') {
    startAgent(node, options)
    await node.agent.waitReady()
  } else if (verb === 'stop') await node.agent.kill('SIGTERM')
  else if (verb === 'kill') await node.agent.kill('SIGKILL')
  else throw new UsageError('agent start|stop|kill NODE')
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new UsageError(`--${option} ${text}: expected a number`)
  return Number(text)
}

async function main(argv: readonly string[]): Promise<number> {
  const { words, options, command } = parseArguments(argv)
  const [verb, ...rest] = words
  const name = options.get('name') ?? 'lab'
  if (verb === undefined || options.has('help')) {
    console.log(USAGE)
    return verb === undefined && !options.has('help') ? 2 : 0
  }
  switch (verb) {
    case 'up':
      await up(name, options)
      return 0
    case 'down':
      await Lab.down(name)
      return 0
    case 'list':
      for (const found of Lab.names()) console.log(found)
      return 0
    case 'status':
      status(Lab.open(name))
      return 0
    case 'pods':
      pods(Lab.open(name))
      return 0
    case 'shell': {
      const [node, pod] = rest
      if (node === undefined) throw new UsageError('shell NODE [POD]')
      const shell = process.env.SHELL ?? '/bin/sh'
      return exec(Lab.open(name), pod === undefined ? node : `${node}/${pod}`, [shell])
    }
    case 'exec':
      if (command.length === 0) throw new UsageError('exec NODE[/POD] -- COMMAND')
      return exec(Lab.open(name), rest[0] ?? '', command)
    case 'pod':
      await podCommand(Lab.open(name), rest)
      return 0
    case 'agent':
      await agentCommand(Lab.open(name), rest, options)
      return 0
    default:
      throw new UsageError(`unknown command ${verb}`)
  }
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${error.message}\n\n${USAGE}`)
    process.exitCode = 2
  } else if (error instanceof LabError) {
    console.error(`lab: ${error.message}`)
    process.exitCode = 1
  } else throw error
}
