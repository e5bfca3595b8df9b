// Host ports: what is read of a runtime's list and refused of it, the rows of pods, and who has a port that two want.
import { SERVICE_HOST_PORT } from '@sinabro/libbpf-ts/layouts'
import { expect, test } from 'vitest'
import { Table } from '../state/table.ts'
import {
  findClash,
  formatPortMapping,
  isSamePortMappings,
  type PortMapping,
  parsePortMappings,
} from './host-port-mappings.ts'
import { computeHostPorts, HostPorts, type PodWithPorts } from './host-ports.ts'
import type { Frontend, ServiceRows } from './rows.ts'

test('parsePortMappings() takes what runtimes write, and leaves out what has no host port', () => {
  const list = [
    { hostPort: 80, containerPort: 8080, protocol: 'tcp', hostIP: '' },
    { hostPort: 53, containerPort: 53, protocol: 'UDP', hostIP: 'FD00::1' },
    { hostPort: 0, containerPort: 9, protocol: 'tcp' },
    { hostPort: 90, containerPort: 90, protocol: 'sctp', hostIP: '127.0.0.1' },
    { hostPort: 91, containerPort: 90 },
  ]
  expect(parsePortMappings(list)).toEqual([
    { hostPort: 80, containerPort: 8080, protocol: 'TCP' },
    { hostPort: 53, containerPort: 53, protocol: 'UDP', hostIP: 'fd00::1' },
    { hostPort: 90, containerPort: 90, protocol: 'SCTP', hostIP: '127.0.0.1' },
    { hostPort: 91, containerPort: 90, protocol: 'TCP' },
  ])
  const ofContainerd = { HostPort: 80, ContainerPort: 8080, Protocol: 'tcp', HostIP: '' }
  expect(parsePortMappings([ofContainerd])).toEqual([
    { hostPort: 80, containerPort: 8080, protocol: 'TCP' },
  ])
  expect(parsePortMappings(undefined)).toEqual([])
  expect(parsePortMappings(null)).toEqual([])
})

const good = { hostPort: 80, containerPort: 8080, protocol: 'tcp' }
test.each([
  [{}, 'expected a list, found {}'],
  [[1], '[0]: expected an object, found 1'],
  [[good, { ...good, hostPort: 65_536 }], '[1].hostPort: expected a port, found 65536'],
  [[{ ...good, hostPort: '80' }], '[0].hostPort: expected a port, found "80"'],
  [[{ ...good, containerPort: 0 }], '[0].containerPort: expected a port, found 0'],
  [[{ ...good, protocol: 'icmp' }], '[0].protocol: expected tcp, udp or sctp, found "icmp"'],
  [[{ ...good, hostIP: 'eth0' }], '[0].hostIP: expected an address, found "eth0"'],
  [Array(1025).fill(good), 'expected at most 1024, found 1025'],
])('parsePortMappings(%j) is refused', (value, message) => {
  expect(() => parsePortMappings(value)).toThrow(message)
})

test.each([
  [{}, {}, true],
  [{}, { hostIP: '10.0.0.1' }, true],
  [{ hostIP: '10.0.0.2' }, { hostIP: '10.0.0.1' }, false],
  [{ hostIP: '0.0.0.0' }, { hostIP: '10.0.0.1' }, true],
  [{ hostIP: '0.0.0.0' }, { hostIP: 'fd00::1' }, false],
  [{ hostIP: '::' }, { hostIP: '::1' }, true],
  [{ protocol: 'UDP' }, {}, false],
  [{ hostPort: 81 }, {}, false],
] as const)('findClash() of %j and %j: %s', (one, other, isClash) => {
  const whole = (part: Partial<PortMapping>): PortMapping => ({
    ...{ hostPort: 80, containerPort: 1, protocol: 'TCP' as const },
    ...part,
  })
  expect(findClash([whole(one)], [whole(other)]) !== undefined).toBe(isClash)
  expect(findClash([whole(other)], [whole(one)]) !== undefined).toBe(isClash)
})

test('isSamePortMappings() does not ask for the order', () => {
  const [a, b] = parsePortMappings([good, { ...good, hostPort: 81, hostIP: '::1' }])
  if (a === undefined || b === undefined) throw new Error('two were expected')
  expect(isSamePortMappings([a, b], [b, a])).toBe(true)
  expect(isSamePortMappings([a, b], [a])).toBe(false)
  expect(formatPortMapping(b)).toBe('[::1]:81 to 8080/TCP')
})

const pod = (name: string, ...portMappings: PortMapping[]): PodWithPorts => ({
  key: { network: 'sinabro', containerId: name, ifname: 'eth0' },
  addresses: ['10.244.1.5', 'fd00::5'],
  podNamespace: 'default',
  podName: name,
  portMappings,
})

test('computeHostPorts() has a row for each family of a mapping, towards this pod alone', () => {
  const both: PortMapping = { hostPort: 80, containerPort: 8080, protocol: 'TCP' }
  const one: PortMapping = { ...both, protocol: 'UDP', hostIP: '192.0.2.1' }
  const row = computeHostPorts(pod('web', both, one), 'n1', () => true)
  expect(row).toMatchObject({ key: 'hostport:default/web', addresses: [] })
  expect(row.ports.map(({ key, frontends }) => [key, frontends[0]?.address])).toEqual([
    ['hostport:default/web/80/TCP/0.0.0.0', '0.0.0.0'],
    ['hostport:default/web/80/UDP/192.0.2.1', '192.0.2.1'],
    ['hostport:default/web/80/TCP/::', '::'],
  ])
  expect(row.ports[2]?.external).toEqual([
    {
      ...{ address: 'fd00::5', port: 8080, isTerminating: false, isOnThisNode: true },
      ...{ nodeName: 'n1', pod: 'default/web' },
    },
  ])
})

test('computeHostPorts() takes the first of two mappings for one place, and an address beside all of them', () => {
  const any: PortMapping = { hostPort: 80, containerPort: 8080, protocol: 'TCP' }
  const others = [
    { ...any, containerPort: 1 },
    { ...any, hostIP: '0.0.0.0', containerPort: 2 },
    { ...any, hostIP: '127.0.0.1', containerPort: 3 },
  ]
  const { ports } = computeHostPorts(pod('web', any, ...others), 'n1', () => true)
  const places = ports.map(({ frontends, internal }) => [frontends[0]?.address, internal[0]?.port])
  expect(places).toEqual([
    ['0.0.0.0', 8080],
    ['127.0.0.1', 3],
    ['::', 8080],
  ])
})

/** Pods and addresses of a node, to be changed. */
function world(addresses: readonly string[] | undefined) {
  const rows = new Table<ServiceRows>('services', ({ key }) => key)
  const listeners: (() => void)[] = []
  const now = { pods: [] as PodWithPorts[], addresses }
  const subscribe = (listener: () => void) => {
    listeners.push(listener)
    return () => undefined
  }
  const hostPorts = new HostPorts({
    ...{ rows, nodeName: 'n1', ipam: { list: () => now.pods, subscribe } },
    addresses: {
      get isReady() {
        return now.addresses !== undefined
      },
      list: () => now.addresses ?? [],
      subscribe,
    },
  })
  const set = (change: Partial<typeof now>): void => {
    Object.assign(now, change)
    for (const listener of listeners) listener()
  }
  const places = (key: string): string[] =>
    rows.get(key)?.ports.flatMap(({ frontends }) => frontends.map(({ address }) => address)) ?? []
  return { rows, hostPorts, set, places }
}

function serviceOn(kind: Frontend['kind'], address: string, port: number): ServiceRows {
  return {
    key: 'default/web',
    addresses: [],
    ports: [
      {
        ...{ key: 'default/web:http/TCP/4', portName: 'http', protocol: 'TCP', family: 4 },
        frontends: [{ kind, address, port }],
        ...{ internal: [], external: [], isInternalLocal: false, isExternalLocal: false },
      },
    ],
  }
}

test('HostPorts follows pods that come and go, and leaves to a NodePort what is one', () => {
  const { rows, hostPorts, set } = world([])
  const mapping: PortMapping = { hostPort: 30_080, containerPort: 80, protocol: 'TCP' }
  const loopback: PortMapping = { ...mapping, hostIP: '127.0.0.1' }
  set({ pods: [pod('a', mapping), pod('b')] })
  expect(rows.get('hostport:default/a')?.ports).toHaveLength(2)
  const written = new Map([['0.0.0.0', { flags: SERVICE_HOST_PORT }]])
  const map = { get: ({ addr }: { addr: string }) => written.get(addr) }
  expect(hostPorts.missing(pod('a', mapping), map)).toEqual([':: port 30080/TCP'])
  written.set('::', { flags: SERVICE_HOST_PORT })
  expect(hostPorts.missing(pod('a', mapping), map)).toEqual([])
  rows.upsert(serviceOn('NodePort', '0.0.0.0', 30_080))
  expect(rows.get('hostport:default/a')?.ports.map(({ family }) => family)).toEqual([6])
  expect(hostPorts.problems()).toEqual([
    'host port 30080/TCP of default/a is the NodePort of a Service, which keeps it: give the pod another',
  ])
  set({ pods: [pod('a', loopback)] })
  expect(rows.get('hostport:default/a')?.ports).toHaveLength(1)
  expect(hostPorts.problems()).toEqual([])
  set({ pods: [pod('a', mapping)] })
  rows.remove('default/web')
  expect(rows.get('hostport:default/a')?.ports).toHaveLength(2)
  set({ pods: [] })
  expect(rows.size).toBe(0)
})

test.each(['10.96.0.10', '169.254.169.254', 'fd00:96::10', '::ffff:192.0.2.1'])(
  'a pod does not get the traffic of %s, which is not of the node, by naming it',
  (hostIP) => {
    const { hostPorts, set, places } = world(['127.0.0.1', '192.0.2.1'])
    const taking: PortMapping = { hostPort: 53, containerPort: 53, protocol: 'UDP', hostIP }
    const own: PortMapping[] = ['192.0.2.1', '127.0.0.1', '0.0.0.0', '::1', '::'].map((ip) => ({
      ...taking,
      hostIP: ip,
    }))
    set({ pods: [pod('a', taking, ...own)] })
    expect(places('hostport:default/a').sort()).toEqual(own.map(({ hostIP: ip }) => ip).sort())
    expect(hostPorts.problems()).toEqual([
      `host port 53/UDP of default/a is not served: its hostIP ${hostIP} is no address of this node, and the traffic of any other is not the pod's to take; give it one that the node has, or none`,
    ])
  },
)

test('an address that comes to the node later has the host ports that name it, and loses them again', () => {
  const { hostPorts, set, places } = world(undefined)
  const hostIP = '192.0.2.7'
  set({ pods: [pod('a', { hostPort: 80, containerPort: 80, protocol: 'TCP', hostIP })] })
  expect([places('hostport:default/a'), hostPorts.problems()]).toEqual([[], []])
  set({ addresses: ['192.0.2.1'] })
  expect([places('hostport:default/a'), hostPorts.problems().length]).toEqual([[], 1])
  set({ addresses: ['192.0.2.1', hostIP] })
  expect([places('hostport:default/a'), hostPorts.problems()]).toEqual([[hostIP], []])
  set({ addresses: ['192.0.2.1'] })
  expect(places('hostport:default/a')).toEqual([])
})

test('an address of the node with a port of a Service stays the Service’s', () => {
  const { rows, hostPorts, set, places } = world(['192.0.2.1'])
  const mapping = { hostPort: 80, containerPort: 80, protocol: 'TCP', hostIP: '192.0.2.1' } as const
  set({ pods: [pod('a', mapping)] })
  rows.upsert(serviceOn('ExternalIP', '192.0.2.1', 80))
  expect(places('hostport:default/a')).toEqual([])
  expect(hostPorts.problems()).toEqual([
    "host port 80/TCP of default/a is Service default/web's at 192.0.2.1, which keeps it: give the pod another",
  ])
  rows.upsert(serviceOn('ExternalIP', '192.0.2.1', 81))
  expect([places('hostport:default/a'), hostPorts.problems()]).toEqual([['192.0.2.1'], []])
})
