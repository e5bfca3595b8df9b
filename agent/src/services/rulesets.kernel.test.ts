// The rules of services on a real kernel: a refused packet is answered at once, whatever its protocol; rules for SCTP are taken.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SB_REFUSE } from '../marks.ts'
import { createNft, type Nft } from '../masquerade/nft.ts'
import { NftTableTarget } from '../masquerade/target.ts'
import { formatServiceRules, type ServiceRules } from './ruleset.ts'
import { computeSctp, formatSctpRules, type SctpRules } from './sctp-ruleset.ts'
import { backendAt, serviceAt } from './testing/world.ts'

const TABLE = 'sb_test_services'
const signal = new AbortController().signal
let node: NetworkNamespace
let pod: NetworkNamespace
let nft: Nft

beforeEach(async () => {
  node = NetworkNamespace.create()
  pod = NetworkNamespace.create()
  nft = createNft(['nsenter', `--net=/proc/${process.pid}/fd/${node.fd}`])
  using ofNode = RouteNetlink.open({ netns: node })
  using ofPod = RouteNetlink.open({ netns: pod })
  const peer = { name: 'eth0', netns: pod, isUp: true }
  await ofNode.links.add({ kind: 'veth', name: 'pod0', isUp: true, peer })
  for (const [netlink, name, last] of [
    [ofNode, 'pod0', 1],
    [ofPod, 'eth0', 2],
  ] as const) {
    const index = (await netlink.links.get({ name }))?.index ?? 0
    await netlink.addresses.replace({ index, address: `10.244.1.${last}`, prefixLen: 24 })
    const v6 = { index, address: `fd00::${last}`, prefixLen: 64 }
    await netlink.addresses.replace({ ...v6, flags: ['nodad'] })
    if (last === 1) continue
    await netlink.routes.replace({ dst: '10.96.0.0/12', via: '10.244.1.1', index })
    await netlink.routes.replace({ dst: 'fd96::/112', via: 'fd00::1', index })
  }
})

afterEach(() => {
  node.close()
  pod.close()
})

const RULES: ServiceRules = { isLending: true }
const ruleTarget = () =>
  new NftTableTarget<ServiceRules>({ name: 'rules', table: TABLE, nft, format: formatServiceRules })
const target = () =>
  new NftTableTarget<SctpRules>({ name: 'SCTP', table: TABLE, nft, format: formatSctpRules })

/** Errno of the answer, or how long nobody answered. */
const ASK = `
import socket, sys
family, kind, to = sys.argv[1:]
s = socket.socket(getattr(socket, family), getattr(socket, kind))
s.settimeout(5)
try:
    s.connect((to, 80))
    s.send(b'x')
    s.recv(1)
    print('answered')
except OSError as e:
    print(type(e).__name__)
`

async function ask(family: 'AF_INET' | 'AF_INET6', kind: string, to: string): Promise<string> {
  const net = `--net=/proc/${process.pid}/fd/${pod.fd}`
  const args = [net, 'python3', '-c', ASK, family, kind, to]
  const { stdout } = await promisify(execFile)('nsenter', args)
  return stdout.trim()
}

test.each([
  ['AF_INET', 'SOCK_STREAM', '10.96.0.9'],
  ['AF_INET', 'SOCK_DGRAM', '10.96.0.9'],
  ['AF_INET6', 'SOCK_STREAM', 'fd96::9'],
  ['AF_INET6', 'SOCK_DGRAM', 'fd96::9'],
] as const)(
  '%s %s to a service that nobody serves is refused at once',
  async (family, kind, to) => {
    const marking = `table inet sb_marking {
    chain first {
      type filter hook prerouting priority raw - 1;
      meta l4proto { tcp, udp } meta mark set ${SB_REFUSE}
    }
  }
  `
    await nft(['-f', '-'], marking, signal)
    await ruleTarget().update(RULES, signal)
    expect(await ask(family, kind, to)).toBe('ConnectionRefusedError')
  },
)

test.each([true, false])(
  'the table of answers is taken by the kernel, lending %s',
  async (isLending) => {
    const written = ruleTarget()
    await written.update({ isLending }, signal)
    const [actual] = await written.list(signal)
    expect(actual && written.isEqual({ isLending }, actual)).toBe(true)
    expect(actual?.text.includes('meta mark & 0x00800000 != 0x00000000 masquerade')).toBe(isLending)
  },
)

test('the table with rules for SCTP is taken by the kernel, and listed as equal', async () => {
  const at = (address: string) => ({ ...backendAt(1), address })
  const sctp = computeSctp([
    serviceAt(1, [at('10.244.1.2'), at('10.244.2.3')], { protocol: 'SCTP' }, [
      { kind: 'NodePort', address: '0.0.0.0', port: 30_080 },
    ]),
    serviceAt(2, [], { protocol: 'SCTP' }),
    serviceAt(3, [backendAt(1)], { protocol: 'TCP' }),
    serviceAt(4, [at('10.244.1.2'), at('10.244.2.3')], {
      ...{ protocol: 'SCTP', external: [at('10.244.1.2')] },
      frontends: [{ kind: 'LoadBalancer', address: '198.51.100.7', port: 80 }],
    }),
    serviceAt(6, [at('10.244.1.2')], {
      ...{ protocol: 'SCTP', sourceRanges: ['192.0.2.0/24', '192.0.0.0/16', '203.0.113.0/24'] },
      frontends: [
        { kind: 'LoadBalancer', address: '198.51.100.8', port: 80 },
        { kind: 'ExternalIP', address: '198.51.100.9', port: 80 },
      ],
    }),
    serviceAt(7, [at('10.244.1.2')], {
      ...{ protocol: 'SCTP', sourceRanges: [] },
      frontends: [{ kind: 'LoadBalancer', address: '198.51.100.10', port: 80 }],
    }),
    {
      ...{ key: 'six', addresses: [] },
      ports: serviceAt(5, [at('fd00::2')], { protocol: 'SCTP', family: 6 }).ports.map((port) => ({
        ...port,
        frontends: [{ kind: 'ClusterIP' as const, address: 'fd96::5', port: 80 }],
      })),
    },
  ])
  const pods = ['10.244.1.0/24', 'fd00::/64']
  const rules = { sctp, pods, nodeAddresses: ['172.31.0.1', 'fd31::1'] }
  const written = target()
  await written.update(rules, signal)
  const [actual] = await written.list(signal)
  expect(actual && written.isEqual(rules, actual)).toBe(true)
  const lines = actual?.text.split('\n').map((line) => line.trim()) ?? []
  expect(lines).toEqual(
    expect.arrayContaining([
      'ip daddr 10.96.0.1 sctp dport 80 dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 8080, 1 : 10.244.2.3 . 8080 }',
      'ip daddr 172.31.0.1 sctp dport 30080 dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 8080, 1 : 10.244.2.3 . 8080 }',
      'ip6 daddr fd96::5 sctp dport 80 dnat ip6 to numgen random mod 1 map { 0 : fd00::2 . 8080 }',
      'ip daddr 198.51.100.7 sctp dport 80 dnat ip to numgen random mod 1 map { 0 : 10.244.1.2 . 8080 }',
      'ip saddr 10.244.2.3 ip daddr 10.244.2.3 masquerade',
      'ct state new ip daddr 198.51.100.8 sctp dport 80 ip saddr != { 192.0.0.0/16, 203.0.113.0/24 } drop',
      'ct state new ip daddr 198.51.100.10 sctp dport 80 drop',
    ]),
  )
  expect(lines.filter((line) => line.endsWith('drop'))).toHaveLength(4)
  expect(actual?.text).toMatch(/ip daddr 10\.96\.0\.2 sctp dport 80 reject/)
  expect(actual?.text).not.toContain('10.96.0.3')
})
