// What runs in every guest: suites of test files, in the order in which they are begun, and the smaller numbers they run with.
export interface Suite {
  readonly name: string
  /** Glob patterns from the root of the tree. */
  readonly files: readonly string[]
  readonly without?: readonly string[]
  /** Emulation is several times slower: these take the place of larger numbers, and are printed. */
  readonly env?: Readonly<Record<string, string>>
  /** Of the tests of these files only those whose full name matches. */
  readonly only?: RegExp
  /** The one kernel on which it runs; without, each. */
  readonly kernel?: string
}

export function isFor({ kernel }: Suite, name: string): boolean {
  return kernel === undefined || kernel === name
}

/** Loads every object; its programs are compared with verifier.json. */
export const VERIFIER = 'verifier'

/** What test:vm does when things go wrong; it runs on this machine, behind the kernels. */
export const FAULTS = 'faults'
/** What its file asks for: in `npm test` it would hold up everybody by a minute. */
export const FAULTS_SWITCH = 'SINABRO_VM_FAULTS'

/** What has to do with sockets, wherever it is: a suite of its own. */
const SOCKET_FILES = [
  'bpf/tests/sockets*.kernel.test.ts',
  'agent/src/services/stale-sockets.kernel.test.ts',
  'netlink/src/diag/*.kernel.test.ts',
]

/** As it is installed: a start of it from its sources loads each file of them. */
const SHIPPED_AGENT = {
  SINABRO_AGENT_FROM: 'bundle',
  SINABRO_BULK_MIB: '4',
  SINABRO_FAULT_ROUNDS: '1',
}

/** The longest first: two run at a time. Each suite is one process. */
export const SUITES: readonly Suite[] = [
  { name: VERIFIER, files: ['bpf/build'] },
  {
    name: 'pods',
    files: [
      'test/integration/connectivity.kernel.test.ts',
      'test/integration/pod-device.kernel.test.ts',
    ],
    env: SHIPPED_AGENT,
    // One size of datagrams and one direction: each test starts several programs, which is what takes long.
    only: /^(?!.*(UDP of (1|1200|8000) bytes|the other way))/,
  },
  {
    name: 'restart',
    files: ['test/integration/restart.kernel.test.ts'],
    env: SHIPPED_AGENT,
    only: /across nodes a transfer over IPv6/,
  },
  {
    name: 'kills',
    // What the next agent finds and puts right, pins and programs that are replaced, the oldest has least of.
    kernel: '6.1',
    files: ['test/faults/faults.kernel.test.ts'],
    env: SHIPPED_AGENT,
  },
  {
    name: 'uplinks',
    // Kinds of devices that this machine's kernel may lack.
    kernel: '6.1',
    files: ['test/integration/uplink-kinds.kernel.test.ts'],
    env: SHIPPED_AGENT,
    only: /uplink of kind (bond|vlan)/,
  },
  {
    name: 'overlay',
    // It asks a kernel for nothing that the oldest and this machine's have and one between them has not.
    kernel: '6.1',
    files: ['agent/src/overlay/{overlay,uplinks}.kernel.test.ts'],
    // What is repaired, and in which order, our code says on any kernel; programs, devices and what goes through them differ.
    only: /the first pass leaves|uplinks\.kernel(?!.*(attached by clsact|by clsact:))/,
  },
  {
    name: 'agent',
    // Its rooms that ask the kernel for what differs: devices of pods, programs and maps, rules.
    files: [
      'agent/src/pods/pods.kernel.test.ts',
      'agent/src/{datapath,features}/{datapath,features}.kernel.test.ts',
      'agent/src/services/{rulesets,services}.kernel.test.ts',
    ],
    // What is repaired, refused or left by an agent that is killed its code says on any kernel.
    only: /(features|rulesets)\.kernel|add\(\) (leaves|brings)|remove\(\) takes away|adopts running pods|taken away from a running|limits hold|attached by|sweep\(\) removes|only when every map|nothing is left but flows/,
  },
  {
    name: 'vectors',
    files: ['bpf/tests/**/*.kernel.test.ts', 'bpf/testing/vector.kernel.test.ts'],
    // In emulation is nothing to measure, and on one CPU nobody to race with.
    without: [
      'bpf/tests/live*.kernel.test.ts',
      'bpf/tests/{cost,ports-race}.kernel.test.ts',
      ...SOCKET_FILES,
    ],
    env: { SINABRO_AFFINITY_CLIENTS: '500', SINABRO_FUZZ_STEP: '4' },
    // Minutes of waiting, and thousands of flows, for what is no kernel's own.
    only: /^(?!.*(length of a jiffy|each port is given once, and all))/,
  },
  {
    name: 'netlink',
    files: ['netlink/src/**/*.kernel.test.ts'],
    without: SOCKET_FILES,
    env: { SINABRO_ROUTES: '10000' },
  },
  { name: 'sockets', files: SOCKET_FILES },
  // Modules of these kernels, where this machine's may have none.
  { name: 'sctp', files: ['agent/src/services/sctp.kernel.test.ts'] },
  // What a program makes of a packet the vectors ask of both kernels; that real devices bring it there and take it on is asked of each way
  // to attach, tunnel family and kind of uplink once, with half of the traffic each.
  {
    name: 'live',
    kernel: '6.1',
    files: ['bpf/tests/live{,-faults,-service-outside}.kernel.test.ts'],
    only: /^(?!.*(tunnel over IPv6|uplink of kind l3))/,
  },
  {
    name: 'live-tcx',
    kernel: '6.12',
    files: ['bpf/tests/live{,-masquerade,-services,-xdp}.kernel.test.ts'],
    only: /^(?!.*programs on clsact)/,
  },
  {
    name: 'binding',
    files: ['bpf/src/*.kernel.test.ts'],
    // That what nobody closed is closed is asked of V8.
    without: ['bpf/src/descriptor.kernel.test.ts'],
    only: /^(?!.*the event loop goes on)/,
  },
  { name: FAULTS, files: ['test/vm/faults.kernel.test.ts'] },
]
