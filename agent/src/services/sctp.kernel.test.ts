// SCTP sockets through our rules: a pod, the node and a host outside ask Services of pods, and a pod asks the host outside under the node's name.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { netnsName } from '@sinabro/libbpf-ts/testing'
import { afterAll, beforeAll, test as declared, describe, expect } from 'vitest'
import { createNft } from '../masquerade/nft.ts'
import { MasqueradeTarget, NftTableTarget } from '../masquerade/target.ts'
import type { Frontend } from './rows.ts'
import { computeSctp, formatSctpRules, type SctpRules } from './sctp-ruleset.ts'
import { backendAt, serviceAt } from './testing/world.ts'

const PORT = 80
const NODE_PORT = 30_080
const BACKEND_PORT = 8080
const ANSWER_DEADLINE_MS = 25_000
const signal = new AbortController().signal

const name = netnsName()
const places = { node: `${name}-n`, client: `${name}-c`, server: `${name}-s`, outside: `${name}-o` }
type Place = keyof typeof places

const plans = {
  4: {
    service: '10.96.0.9',
    any: '0.0.0.0',
    node: '192.0.2.1',
    pods: '10.244.1.0/24',
    at: { client: '10.244.1.2', server: '10.244.1.3', outside: '192.0.2.2' },
    gateways: { client: '10.244.1.1', server: '10.244.1.1', outside: '192.0.2.1' },
    bits: 32,
  },
  6: {
    service: 'fd00:96::9',
    any: '::',
    node: '2001:db8::1',
    pods: 'fd00:1::/64',
    at: { client: 'fd00:1::2', server: 'fd00:1::3', outside: '2001:db8::2' },
    gateways: { client: 'fd00:1::1', server: 'fd00:1::1', outside: '2001:db8::1' },
    bits: 128,
  },
} as const
type Family = keyof typeof plans
const FAMILIES = [4, 6] as const

/** Says whom it sees to whoever connects; says whom it sees itself. Each end has one address: what is translated names no other. */
const TALK = `
import socket, sys
verb, own, *to = sys.argv[1:]
family = socket.AF_INET6 if ':' in own else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM, 132)
if verb == 'serve':
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((own, int(to[0])))
    s.listen(8)
    print('listening', flush=True)
    while True:
        peer, seen = s.accept()
        peer.send(seen[0].encode())
        peer.close()
s.bind((own, 0))
s.connect((to[0], int(to[1])))
print(s.recv(64).decode())
`
const children: ChildProcess[] = []
let lacking: string | undefined

const test = (what: string, body: (context: object) => Promise<void>): void =>
  declared(what, async (context) => {
    context.skip(lacking !== undefined, lacking)
    await body(context)
  })

beforeAll(async () => {
  lacking = whyNot()
  if (lacking !== undefined) return
  for (const netns of Object.values(places)) ip('netns', 'add', netns)
  inside('node', 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  for (const place of Object.keys(places) as Place[]) {
    ip('-n', places[place], 'link', 'set', 'lo', 'up')
    if (place !== 'node') wire(place)
  }
  const nft = createNft(['ip', 'netns', 'exec', places.node])
  await new NftTableTarget<SctpRules>({
    ...{ name: 'rules', table: 'sb_test_sctp', nft, format: formatSctpRules },
  }).update(servicesRules(), signal)
  const pods = FAMILIES.map((family) => plans[family].pods)
  const masquerading = new MasqueradeTarget('sb_test_masq', nft)
  await masquerading.update({ pods, exempt: [], keep: pods, tunnelPort: 8472 }, signal)
  for (const family of FAMILIES) {
    const { at } = plans[family]
    for (const place of ['client', 'server', 'outside'] as const) await serve(place, at[place])
  }
})

afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  if (lacking === undefined) for (const netns of Object.values(places)) ip('netns', 'del', netns)
})

function whyNot(): string | undefined {
  const open = 'import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)'
  try {
    execFileSync('python3', ['-c', open], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'this kernel has no SCTP'
  }
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args)
}

function inside(place: Place, ...argv: readonly string[]): void {
  ip('netns', 'exec', places[place], ...argv)
}

/** Its device is eth0; the node's end has its name. */
function wire(place: Exclude<Place, 'node'>): void {
  const peer = ['peer', 'name', 'eth0', 'netns', places[place]]
  ip('-n', places.node, 'link', 'add', place, 'type', 'veth', ...peer)
  ip('-n', places.node, 'link', 'set', place, 'up')
  ip('-n', places[place], 'link', 'set', 'eth0', 'up')
  for (const family of FAMILIES) {
    const { at, gateways, bits } = plans[family]
    const nodad = family === 6 ? ['nodad'] : []
    ip('-n', places[place], 'addr', 'add', `${at[place]}/${bits}`, 'dev', 'eth0', ...nodad)
    ip('-n', places[place], 'route', 'add', gateways[place], 'dev', 'eth0')
    // The host outside knows no way to pods: it answers nobody but the node.
    if (place !== 'outside') {
      ip('-n', places[place], 'route', 'add', 'default', 'via', gateways[place], 'dev', 'eth0')
    }
    ip('-n', places.node, 'addr', 'add', `${gateways[place]}/${bits}`, 'dev', place, ...nodad)
    ip('-n', places.node, 'route', 'add', `${at[place]}/${bits}`, 'dev', place)
    if (place === 'outside') {
      // A node has one: nobody asks where it has no way to.
      ip('-n', places.node, 'route', 'add', 'default', 'via', at[place], 'dev', place)
    }
  }
}

/** Of each family: one Service that the server answers, and one that the client itself does. */
function servicesRules(): SctpRules {
  const rows = FAMILIES.flatMap((family) => {
    const { service, any, at } = plans[family]
    const of = (n: number, address: string, frontends: readonly Frontend[]) =>
      serviceAt(n, [backendAt(1, { address, port: BACKEND_PORT })], {
        ...{ protocol: 'SCTP', family, frontends },
      })
    return [
      of(family, at.server, [
        { kind: 'ClusterIP', address: service, port: PORT },
        { kind: 'NodePort', address: any, port: NODE_PORT },
      ]),
      of(family + 1, at.client, [{ kind: 'ClusterIP', address: service, port: PORT + 1 }]),
    ]
  })
  return {
    sctp: computeSctp(rows),
    pods: FAMILIES.map((family) => plans[family].pods),
    nodeAddresses: FAMILIES.map((family) => plans[family].node),
  }
}

async function serve(place: Place, address: string): Promise<void> {
  const argv = ['netns', 'exec', places[place], 'python3', '-c', TALK, 'serve', address]
  const child = spawn('ip', [...argv, String(BACKEND_PORT)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(([status]) => {
      throw new Error(`the server at ${address} ended with ${status}`)
    }),
  ])
}

/** As whom the server sees who asks. */
async function ask(from: Place, own: string, to: string, port: number): Promise<string> {
  const argv = ['netns', 'exec', places[from], 'python3', '-c', TALK, 'ask', own, to, String(port)]
  const { stdout } = await promisify(execFile)('ip', argv, { timeout: ANSWER_DEADLINE_MS })
  return stdout.trim()
}

describe.each(FAMILIES)('IPv%i', (family: Family) => {
  const { service, node, at, gateways } = plans[family]

  test('a pod reaches a Service, and is seen as itself', async () => {
    expect(await ask('client', at.client, service, PORT)).toBe(at.client)
  })

  test('a pod reaches itself through a Service', async () => {
    expect(await ask('client', at.client, service, PORT + 1)).toBe(gateways.client)
  })

  test('the node reaches a Service', async () => {
    expect(await ask('node', node, service, PORT)).toBe(node)
  })

  test('a host outside reaches a node port, and a pod of the node sees it as itself', async () => {
    expect(await ask('outside', at.outside, node, NODE_PORT)).toBe(at.outside)
  })

  test('a pod reaches a host outside, which sees the node', async () => {
    expect(await ask('client', at.client, at.outside, BACKEND_PORT)).toBe(node)
  })
})
