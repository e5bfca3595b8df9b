// The commands that look at a running agent: what each shows, in words that teach how to read it.
import { type Command, Option } from 'commander'
import { FLOW_STATES } from '../api/views.ts'
import {
  type ExplainConfig,
  type FlowsConfig,
  type HostPort,
  type OutputFormat,
  type Request,
  socketPath,
  type ViewCommand,
} from '../config.ts'
import { outputOption, parseAddressPort, runDirOption, wholeNumber } from './options.ts'

interface View {
  readonly command: ViewCommand
  readonly what: string
  readonly help: string
}

const VIEWS: readonly View[] = [
  {
    command: 'status',
    what: 'whether the agent of this node works, and what does not',
    help: `
Ready means that every part has finished its first pass: from then on the container runtime is given a network. Healthy means that
nothing fails now. A component that is degraded is tried again by itself; its message says what stands in its way. Problems are
objects and records that could not be used, with file and line.

Exit code 4 unless both are 'yes', so a script may write
  sinabro status >/dev/null || echo "the pod network needs a look"`,
  },
  {
    command: 'pods',
    what: 'the pods of this node, their devices, and whether their network is as it should be',
    help: `
One line for each interface of each pod. DEVICE is the end in the node's namespace: the place for tcpdump. STATE is 'done' when the
agent found everything in place at its last look, and 'error' with the reason when it could not repair something.`,
  },
  {
    command: 'addresses',
    what: 'which address belongs to which pod, and how much room is left',
    help: `
The second address of each range is the node's own. Addresses of damaged records are listed last: they are given to nobody until the
record's pod is deleted (docs/addresses.md).`,
  },
  {
    command: 'nodes',
    what: 'the nodes of the cluster, and how pods there are reached from here',
    help: `
WAY is 'tunnel' when the programs of this node know where to send packets for that node, and 'none' with the reason when they do not.
MTU is the largest IP packet that reaches a pod there. Only Node objects that the agent has read are listed: one that is missing here
is missing in the source.`,
  },
  {
    command: 'masquerade',
    what: 'how pods get out of the cluster: uplinks, addresses, ports and how full they are',
    help: `
Each pair of an address of the node and a destination (address, port, protocol) has the same ports to give. USED is counted for the
answer. FAILED counts new connections that got none; those that run are not touched. Only what our programs translate is counted: what takes the kernel's stack is in 'conntrack -L' (docs/masquerade.md).`,
  },
  {
    command: 'programs',
    what: 'the eBPF programs: what is attached where, and what each costs',
    help: `
For each device of ours and each direction the programs in the order in which they run. 'earlier' was attached by an agent that ran
before and is replaced by this one; 'foreign' is not ours: before ours it may keep packets from it. Directions are those of the host:
ingress is what comes out of a pod or the tunnel.

RUNS and AVERAGE count only while the kernel measures, which costs about 20 ns per run:
  sysctl kernel.bpf_stats_enabled=1`,
  },
]

const FLOWS_HELP = `
One line for each connection that the flow table of this node holds, oldest rows included until they expire. WAY is how its packets
leave: 'local' into a pod here, a node's name to that node, 'out' by an uplink under the address in AS, 'stack' through the kernel's
routing. BACKEND is who answers where TO is a service's address; what a socket chose before its first packet shows the backend alone. STATE of TCP is 'opening' without an answer, 'established', 'closing' when one side has finished, 'closed'; of anything else
'unreplied' or 'replied'.

--watch goes on until it is interrupted; with -o json each line is an object, which has 'isGone' when its connection is gone.

Examples:
  sinabro flows --pod default/web-0
  sinabro flows --to 10.96.0.0/12 --state opening      # what waits for an answer from there
  sinabro flows --pod default/web-0 --watch
  sinabro flows -o json | jq '.flows[] | select(.idleSec > 3600)'`

interface ViewOptions {
  readonly runDir: string
  readonly output: OutputFormat
}

export function addViewCommands(program: Command, ask: (request: Request) => void): void {
  for (const { command, what, help } of VIEWS) {
    program
      .command(command)
      .description(what)
      .addOption(runDirOption())
      .addOption(outputOption())
      .addHelpText('after', help)
      .action((options: ViewOptions) => ask({ command, view: viewOf(options) }))
  }
  addServiceCommands(program, ask)
  program
    .command('flows')
    .description('the connections of pods, how they go and in which state they are')
    .addOption(runDirOption())
    .option('--pod <pod>', 'of this pod, at either end: NAME, NAMESPACE/NAME or an address')
    .option('--to <address>', 'towards this address or prefix')
    .addOption(new Option('--state <state>', 'in this state').choices(FLOW_STATES))
    .addOption(
      new Option('--limit <number>', 'list at most so many').argParser(wholeNumber(1, 100_000)),
    )
    .option('--watch', 'go on: a line for each that begins, changes or is gone')
    .addOption(outputOption())
    .addHelpText('after', FLOWS_HELP)
    .action(({ runDir, output, ...flows }: ViewOptions & FlowsConfig) =>
      ask({ command: 'flows', view: viewOf({ runDir, output }), flows }),
    )
}

const SERVICES_HELP = `
One line for each port of a Service and family: where it is asked, and who answers those who ask from inside (pods and processes of this
node) and from outside. '*' and '[::]' are all addresses of the node. With a NAME, which is that of the Service or NAMESPACE/NAME,
every backend has its line. Host ports of pods come last.

Examples:
  sinabro services
  sinabro services default/kubernetes
  sinabro services explain 10.96.0.10:53 --protocol udp --from default/web-0
  sinabro services -o json | jq -r '.services[] | select(.ports[].internal == []) | .name'   # who is left without backends`

const EXPLAIN_HELP = `
Which Service has the address, which of its lists counts for this caller, who would be chosen with what chance, and why its other
endpoints are not asked. It is read from the maps that packets meet; nothing is sent. A pod of another node asks there, so ask there.

Examples:
  sinabro services explain 10.96.0.1:443
  sinabro services explain '[fd00:96::a]:53' --protocol udp --from kube-system/dns-0
  sinabro services explain 192.0.2.1:30080 --from 203.0.113.9         # a node port, asked from outside
  sinabro services explain 192.0.2.1:30080 --from 203.0.113.9:40000   # the same where consistent hashing goes by the port`

const BACKENDS_HELP = `
One line for each row of the map of backends, with the Services that have it in a list. One without any is about to go.

Examples:
  sinabro backends --service default/web
  sinabro backends -o json | jq '.matched'`

function addServiceCommands(program: Command, ask: (request: Request) => void): void {
  const services = program
    .command('services')
    .description('the Services that this node serves, and who answers for them')
    .enablePositionalOptions()
    .argument('[name]', 'of one Service: NAME or NAMESPACE/NAME')
    .addOption(runDirOption())
    .addOption(outputOption())
    .addHelpText('after', SERVICES_HELP)
    .action((name: string | undefined, options: ViewOptions) => {
      ask({ command: 'services', view: viewOf(options), ...(name === undefined ? {} : { name }) })
    })
  services
    .command('explain')
    .description('what a new connection to an address and port meets, and why')
    .argument('<address:port>', 'as 10.96.0.1:443 or [fd00::1]:443', parseAddressPort)
    .option(
      '--from <caller>',
      'pod of this node (NAME, NAMESPACE/NAME, address), or client outside (ADDRESS or ADDRESS:PORT)',
    )
    .addOption(
      new Option('--protocol <protocol>', 'of the connection')
        .choices(['tcp', 'udp'])
        .default('tcp'),
    )
    .addOption(runDirOption())
    .addOption(outputOption())
    .addHelpText('after', EXPLAIN_HELP)
    .action(({ host, port }: HostPort, options: ViewOptions & Omit<ExplainConfig, 'port'>) => {
      const { protocol, from } = options
      const asked = { address: host, port, protocol, ...(from === undefined ? {} : { from }) }
      ask({ command: 'explain-service', view: viewOf(options), asked })
    })
  program
    .command('backends')
    .description('who answers for Services: the rows of the map of backends')
    .option('--service <name>', 'of this Service: NAME or NAMESPACE/NAME')
    .addOption(
      new Option('--limit <number>', 'list at most so many').argParser(wholeNumber(1, 100_000)),
    )
    .addOption(runDirOption())
    .addOption(outputOption())
    .addHelpText('after', BACKENDS_HELP)
    .action(({ runDir, output, ...which }: ViewOptions & { service?: string; limit?: number }) =>
      ask({ command: 'backends', view: viewOf({ runDir, output }), ...which }),
    )
}

function viewOf({ runDir, output }: ViewOptions) {
  return { socket: socketPath(runDir), output }
}
