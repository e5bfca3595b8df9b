// Leaving kube-proxy on a real kernel: its rules of every mode are found and go, others' stay, and a connection that it translated lives through.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { NetworkNamespace } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createTool } from '../masquerade/nft.ts'
import { findProxyRules, formatProxyRules, isProxyChain, removeProxyRules } from './kube-proxy.ts'
import { type NetfilterWorld, parseSaved } from './netfilter-chains.ts'
import { portmapChain, removePortmapChains } from './portmap.ts'

let node: NetworkNamespace
let others: NetworkNamespace[]
let children: ChildProcess[]

const path = (netns: NetworkNamespace) => `/proc/${process.pid}/fd/${netns.fd}`
const enter = (netns: NetworkNamespace) => ['nsenter', `--net=${path(netns)}`]

function inside(netns: NetworkNamespace, command: string, input = ''): string {
  const [program = '', ...args] = [...enter(netns), 'sh', '-ec', command]
  return execFileSync(program, args, { input, encoding: 'utf8' })
}

const world: NetfilterWorld = {
  run: (program, args, script = '') =>
    createTool(program, enter(node))(args, script, AbortSignal.timeout(20_000)),
  procNet: (name) => {
    try {
      return node.readFile(`/proc/thread-self/net/${name}`)
    } catch {
      return undefined
    }
  },
}

beforeEach(() => {
  node = NetworkNamespace.create()
  others = []
  children = []
})
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  for (const netns of [node, ...others]) netns.close()
})

const texts = async () => (await findProxyRules(world)).found.map(formatProxyRules).sort()

test('the rules of a real kube-proxy in nftables mode go, and those of others stay', async () => {
  const folder = new URL('../../../test/bench/testdata/', import.meta.url)
  inside(node, 'nft -f -', readFileSync(new URL('kube-proxy-1.34.4.nft', folder), 'utf8'))
  inside(node, 'nft add table inet mine; nft add chain inet mine KUBE-MINE')
  expect(await texts()).toEqual([
    expect.stringMatching(/^nftables table ip kube-proxy \(\d+ chains\)$/),
    expect.stringMatching(/^nftables table ip6 kube-proxy \(\d+ chains\)$/),
  ])
  const { found, unseen } = await removeProxyRules(world)
  expect([found.length, unseen]).toEqual([2, []])
  expect(await texts()).toEqual([])
  const left = inside(node, 'nft list tables').trim().split('\n').sort()
  expect(left).toEqual(['table inet mine', 'table inet sinabro-nat'])
  expect((await removeProxyRules(world)).found).toEqual([])
})

/** As kube-proxy and the kubelet write them, and a chain of somebody else. */
const IPTABLES = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
*mangle
:KUBE-PROXY-CANARY - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:KUBE-SEP-AAAAAAAAAAAAAAAA - [0:0]
:OTHERS - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j OTHERS
-A OUTPUT -m comment --comment "kubernetes service portals -j OTHERS" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SVC-NPX46M4PTMTKRN6Y -m comment --comment "default/kubernetes:https" -j KUBE-SEP-AAAAAAAAAAAAAAAA
-A KUBE-SEP-AAAAAAAAAAAAAAAA -p tcp -m tcp -j DNAT --to-destination 192.0.2.1:6443
COMMIT
`

test.each([
  ['iptables-nft', 'ip', 4],
  ['ip6tables-nft', 'ip6', 6],
  ['iptables-legacy', 'ip', 4],
  ['ip6tables-legacy', 'ip6', 6],
] as const)(
  'chains of kube-proxy in %s go, those of the kubelet and of others stay',
  async (program, family, number) => {
    const rules =
      number === 4
        ? IPTABLES
        : IPTABLES.replaceAll('10.96.0.1/32', 'fd00::1/128').replaceAll(
            '192.0.2.1:6443',
            '[fd00::2]:6443',
          )
    inside(node, `${program}-restore`, rules)
    const kind = program.replace('ip6tables', 'iptables')
    expect(await texts()).toEqual([
      `${kind} table ${family} filter (1 chains)`,
      `${kind} table ${family} mangle (1 chains)`,
      `${kind} table ${family} nat (5 chains)`,
    ])
    await removeProxyRules(world)
    expect(await texts()).toEqual([])
    const left = inside(node, `${program}-save`)
      .split('\n')
      .filter((line) => /KUBE|OTHERS/.test(line))
      .map((line) => line.replace(/ \[.*| -m .*/, ''))
    expect(left.sort()).toEqual([
      '-A INPUT -j KUBE-FIREWALL',
      '-A PREROUTING -j OTHERS',
      ':KUBE-FIREWALL -',
      ':KUBE-KUBELET-CANARY -',
      ':OTHERS -',
    ])
  },
)

test('a chain that somebody else jumps to keeps all of them, and the kernel says why', async () => {
  inside(node, 'iptables-nft-restore', IPTABLES)
  inside(node, 'iptables-nft -t nat -A OTHERS -j KUBE-MARK-MASQ')
  await expect(removeProxyRules(world)).rejects.toThrow(/KUBE-MARK-MASQ/)
  expect(await texts()).toContain('iptables-nft table ip nat (5 chains)')
})

test.each([
  ['iptables-nft', 'ip6tables-nft'],
  ['iptables-legacy', 'ip6tables-legacy'],
])(
  'chains of portmap for pods that are ours go, in %s and %s; those of other pods stay',
  async (...programs) => {
    const pod = (containerId: string) => ({
      key: { network: 'sinabro', containerId, ifname: 'eth0' },
    })
    const [ours, others] = [portmapChain(pod('a')), portmapChain(pod('b'))]
    const rules = `*nat
:CNI-HOSTPORT-DNAT - [0:0]
:${ours} - [0:0]
:${others} - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: sinabro id: a" -m multiport --dports 80 -j ${ours}
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: sinabro id: b" -m multiport --dports 81 -j ${others}
-A ${ours} -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
`
    for (const program of programs) inside(node, `${program}-restore`, rules)
    expect(await removePortmapChains(world, [pod('a')])).toEqual({ removed: 2, unseen: [] })
    expect(await removePortmapChains(world, [pod('a')])).toEqual({ removed: 0, unseen: [] })
    for (const program of programs) {
      const left = inside(node, `${program}-save`)
      expect(left).not.toContain(ours)
      expect(left.match(new RegExp(`-j ${others}|-j CNI-HOSTPORT-DNAT`, 'g'))).toHaveLength(2)
    }
  },
)

const PORTMAP = '/usr/lib/cni/portmap'
test('what the real portmap makes for a pod is found and goes', async (ctx) => {
  ctx.skip(
    !existsSync(PORTMAP),
    `${PORTMAP} is not here: Debian has it in containernetworking-plugins`,
  )
  const key = { network: 'sinabro', containerId: 'abc', ifname: 'eth0' }
  const config = {
    ...{ cniVersion: '1.0.0', name: key.network, type: 'portmap' },
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] },
    prevResult: {
      cniVersion: '1.0.0',
      interfaces: [{ name: 'eth0', sandbox: '/x' }],
      ips: [{ address: '10.0.0.5/32', interface: 0 }],
    },
  }
  const call = 'CNI_CONTAINERID=abc CNI_NETNS=/x CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni CNI_COMMAND'
  inside(node, `ip link set lo up; ${call}=ADD ${PORTMAP}`, JSON.stringify(config))
  expect(inside(node, 'iptables-save')).toContain(`-j ${portmapChain({ key })}`)
  expect(await removePortmapChains(world, [{ key }])).toMatchObject({ removed: 1 })
  expect(inside(node, 'iptables-save')).not.toContain(portmapChain({ key }))
})

test('a connection that kube-proxy has translated lives through; new ones are not translated any more', async () => {
  const client = NetworkNamespace.create()
  const server = NetworkNamespace.create()
  others = [client, server]
  inside(
    node,
    `ip link set lo up; sysctl -qw net.ipv4.ip_forward=1
     ip link add c type veth peer name eth0 netns ${path(client)}
     ip link add s type veth peer name eth0 netns ${path(server)}
     ip addr add 10.0.1.1/24 dev c; ip addr add 10.0.2.1/24 dev s; ip link set c up; ip link set s up
     nft -f -`,
    `table ip kube-proxy {
       chain nat-prerouting { type nat hook prerouting priority dstnat; ip daddr 10.96.0.10 tcp dport 80 dnat to 10.0.2.2:8080; }
     }`,
  )
  for (const [netns, net] of [
    [client, 1],
    [server, 2],
  ] as const) {
    inside(
      netns,
      `ip link set lo up; ip addr add 10.0.${net}.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.${net}.1`,
    )
  }
  await listening(server)
  const before = await Talk.begin(client)
  expect(await before.say('one')).toBe('one')
  await removeProxyRules(world)
  expect(inside(node, 'nft list tables').trim()).toBe('table inet sinabro-nat')
  expect(await before.say('two')).toBe('two')
  await expect(Talk.begin(client)).rejects.toThrow('no connection')
  expect(await before.say('three')).toBe('three')
})

test('parseSaved() reads a jump behind a comment that speaks of one', () => {
  const { jumps } = parseSaved(IPTABLES.slice(IPTABLES.indexOf('*nat')), isProxyChain)
  expect(jumps).toHaveLength(3)
})

function script(netns: NetworkNamespace, code: string): ChildProcess {
  const [program = '', ...args] = [...enter(netns), process.execPath, '-e', code]
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  return child
}

async function listening(netns: NetworkNamespace): Promise<void> {
  const code = `require('net').createServer(s => s.pipe(s)).listen(8080, () => console.log('up'))`
  const child = script(netns, code)
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    if (line === 'up') return
  }
}

/** One connection to the service, from another process. */
class Talk {
  readonly #child: ChildProcess
  readonly #heard: AsyncIterator<string>

  private constructor(child: ChildProcess, heard: AsyncIterator<string>) {
    this.#child = child
    this.#heard = heard
  }

  static async begin(netns: NetworkNamespace): Promise<Talk> {
    const code = `
      const s = require('net').connect(80, '10.96.0.10', () => { console.log('connected'); process.stdin.pipe(s); s.pipe(process.stdout) })
      s.setTimeout(1500, () => { if (s.connecting) process.exit(1) }); s.on('error', () => process.exit(1))`
    const child = script(netns, code)
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const heard = lines[Symbol.asyncIterator]()
    if ((await heard.next()).value !== 'connected') throw new Error('no connection')
    return new Talk(child, heard)
  }

  async say(text: string): Promise<string> {
    this.#child.stdin?.write(`${text}\n`)
    return (await this.#heard.next()).value
  }
}
