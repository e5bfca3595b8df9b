// Connected UDP sockets on a real kernel: those whose backend left their service are ended, in the node's namespace and in a pod's, and no others.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { SLOT_MEMBER } from '@sinabro/libbpf-ts/layouts'
import { mountBpffs, netnsName, type PrivateBpffs, TestCgroup } from '@sinabro/libbpf-ts/testing'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Datapath } from '../datapath/datapath.ts'
import { type Features, probeFeatures } from '../features/features.ts'
import { systemClock } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { StaleSockets } from './stale-sockets.ts'

const features: Features = await probeFeatures()
const UDP = 17
const PORT = 53
const BACKEND_PORT = 5353
const BACKENDS = {
  4: ['10.244.1.11', '10.244.1.12'],
  6: ['fd00:10:244:1::11', 'fd00:10:244:1::12'],
} as const

let bpffs: PrivateBpffs
let cgroup: TestCgroup
let datapath: Datapath
let names: readonly [node: string, pod: string]
let stale: StaleSockets
let closing: (() => void)[]
let children: ChildProcess[]

beforeEach(async () => {
  closing = []
  children = []
  bpffs = mountBpffs()
  cgroup = TestCgroup.open()
  const name = netnsName()
  names = [`${name}-n`, `${name}-p`]
  for (const netns of names) {
    execFileSync('ip', ['netns', 'add', netns])
    execFileSync('ip', ['-n', netns, 'link', 'set', 'lo', 'up'])
    for (const one of [...BACKENDS[4], ...BACKENDS[6]]) {
      execFileSync('ip', ['-n', netns, 'addr', 'add', one, 'dev', 'lo', 'nodad'])
    }
  }
  const [node, pod] = names.map((one) => NetworkNamespace.open(`/run/netns/${one}`))
  if (node === undefined || pod === undefined) throw new Error('no namespaces')
  const netlink = RouteNetlink.open({ netns: node })
  const common = { clock: systemClock, log: silentLog }
  datapath = await Datapath.open({
    ...{ bpfDir: join(bpffs.path, 'sinabro'), attach: 'clsact', features, netlink, netns: node },
    ...{ flowsMax: 512, servicesMax: 64, cgroupRoot: cgroup.path, ...common },
  })
  await datapath.attachSockets()
  stale = new StaleSockets({
    find: () => datapath.staleSockets(),
    hostNamespace: node,
    pods: () => [{ netns: `/run/netns/${names[1]}`, netnsCookie: `${pod.cookie()}` }],
    ...common,
  })
  closing.push(
    () => datapath.close(),
    () => netlink.close(),
    () => node.close(),
    () => pod.close(),
  )
})

afterEach(async () => {
  for (const child of children) {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
  }
  for (const close of closing) close()
  for (const netns of names) execFileSync('ip', ['netns', 'del', netns])
  cgroup.close()
  bpffs.unmount()
})

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4)

/** A list of backends, by what they are in BACKENDS of its family, and a service that has it. */
function serve(id: number, address: string, backends: readonly number[]): void {
  const { services, slots, backends: rows } = datapath.maps
  for (const [at, one] of BACKENDS[familyOf(address)].entries()) {
    rows.set(at + 1, { addr: one, port: BACKEND_PORT, proto: UDP, flags: 0 })
    slots.delete({ list: id, slot: SLOT_MEMBER + at + 1 })
  }
  for (const [at, one] of backends.entries()) {
    slots.set({ list: id, slot: at + 1 }, { backend: one + 1, weight: 1 })
    slots.set({ list: id, slot: SLOT_MEMBER + one + 1 }, { backend: at + 1, weight: 0 })
  }
  slots.set({ list: id, slot: 0 }, { backend: backends.length, weight: 0 })
  const row = { id, flags: 0, internal: id, external: id, affinitySec: 0 }
  services.set({ addr: address, port: PORT, proto: UDP }, row)
}

interface Resolver {
  /** The error that its socket hears, once it does. */
  readonly heard: Promise<string>
  isOver: boolean
}

/** A process in a namespace, with a connected socket. */
async function resolver(netns: string, address: string, port: number): Promise<Resolver> {
  const type = address.includes(':') ? 'udp6' : 'udp4'
  const script = `
    const socket = require('node:dgram').createSocket('${type}')
    socket.on('error', ({ code }) => { console.log(code); process.exit() })
    socket.connect(${port}, '${address}', () => console.log('connected'))`
  const enter = ['ip', 'netns', 'exec', netns, process.execPath, '-e', script]
  const inside = ['-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup.path, ...enter]
  const child = spawn('sh', inside, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  expect((await lines.next()).value).toBe('connected')
  const heard = lines.next().then(({ value }) => {
    one.isOver = true
    return String(value)
  })
  const one = { heard, isOver: false }
  return one
}

test.each([
  ['IPv4', '10.96.0.', ''],
  ['IPv6', 'fd00:10:96::', ''],
  ['IPv4 in IPv6', '10.96.0.', '::ffff:'],
])(
  'sockets of a backend that left are ended, of the node and of a pod: %s',
  async (_way, range, prefix) => {
    const service = (id: number) => `${range}${id}`
    const [first] = BACKENDS[familyOf(range)]
    serve(1, service(1), [0])
    serve(2, service(2), [0])
    const left: Resolver[] = []
    const others: Resolver[] = []
    for (const netns of names) {
      left.push(await resolver(netns, `${prefix}${service(1)}`, PORT))
      others.push(await resolver(netns, `${prefix}${service(2)}`, PORT))
      // Who talks to it by its own name.
      others.push(await resolver(netns, `${prefix}${first}`, BACKEND_PORT))
    }
    expect(await stale.look()).toBe(0)
    serve(1, service(1), [1])
    expect(await stale.look()).toBe(2)
    expect(await Promise.all(left.map(({ heard }) => heard))).toEqual(Array(2).fill('ECONNABORTED'))
    expect(await stale.look()).toBe(0)
    expect(others.map(({ isOver }) => isOver)).toEqual(Array(4).fill(false))
    expect(stale.ended).toBe(2)
  },
)

test('sockets of a service that is gone are ended; in a namespace that nobody knows they stay', async () => {
  serve(1, '10.96.0.1', [0])
  const known = await resolver(names[0], '10.96.0.1', PORT)
  const pod = await resolver(names[1], '10.96.0.1', PORT)
  datapath.maps.services.delete({ addr: '10.96.0.1', port: PORT, proto: UDP })
  using host = NetworkNamespace.open(`/run/netns/${names[0]}`)
  const blind = new StaleSockets({
    ...{ find: () => datapath.staleSockets(), hostNamespace: host, clock: systemClock },
    ...{ pods: () => [], log: silentLog },
  })
  expect(await blind.look()).toBe(1)
  expect(await known.heard).toBe('ECONNABORTED')
  expect(pod.isOver).toBe(false)
})
