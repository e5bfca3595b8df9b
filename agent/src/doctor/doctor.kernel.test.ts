// Every check of the doctor, by making what it looks for in a namespace and a folder of its own: found, said, and gone when it is gone.
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Status } from '../api/status.ts'
import type { NodeView } from '../api/views.ts'
import type { DoctorConfig } from '../config.ts'
import { Features } from '../features/features.ts'
import { FEATURE_NAMES, type FeatureName } from '../features/table.ts'
import { KernelSettings } from '../kernel-settings.ts'
import { judgeProxy } from './checks/kube-proxy.ts'
import { CHECKS, showFindings } from './doctor.ts'
import { examine, type Report } from './finding.ts'
import { World } from './world.ts'

let netns: NetworkNamespace
let netlink: RouteNetlink
let settings: KernelSettings
let root: string
let server: Server | undefined
let config: DoctorConfig

beforeEach(() => {
  netns = NetworkNamespace.create()
  netlink = RouteNetlink.open({ netns })
  settings = new KernelSettings(netns)
  root = mkdtempSync(join(tmpdir(), 'sinabro-doctor-'))
  config = {
    socket: join(root, 'agent.sock'),
    bpfDir: '/sys/fs/bpf/sinabro',
    cniConfDir: '/etc/cni/net.d',
    cniBinDir: '/opt/cni/bin',
    tunnelPort: 8472,
    vni: 1,
    containerdConfig: '/etc/containerd/config.toml',
  }
  for (const family of ['ipv4', 'ipv6']) settings.set(`${family}/conf/all/forwarding`, '1')
  settings.set('ipv4/conf/all/rp_filter', '0')
})
afterEach(async () => {
  netlink.close()
  netns.close()
  await new Promise((resolve) => (server === undefined ? resolve(0) : server.close(resolve)))
  server = undefined
  rmSync(root, { recursive: true })
})

const enter = () => ['nsenter', `--net=/proc/${process.pid}/fd/${netns.fd}`]

function inside(command: string): void {
  const [program = '', ...args] = [...enter(), 'sh', '-c', command]
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

function put(path: string, text: string, mode = 0o644): void {
  const at = join(root, path)
  mkdirSync(dirname(at), { recursive: true })
  writeFileSync(at, text)
  chmodSync(at, mode)
}

async function agentSays(status: Partial<Status>, nodes: readonly NodeView[] = []): Promise<void> {
  const whole: Partial<Status> = {
    ready: true,
    ranges: [{ range: '10.244.1.0/24', used: 1, capacity: 253 }],
    facts: { mtu: '1450' },
    components: [],
    problems: [],
    ...status,
  }
  server = createServer((request, response) =>
    response.end(JSON.stringify(request.url === '/v1/nodes' ? { nodes } : whole)),
  )
  await new Promise<void>((resolve) => server?.listen(config.socket, resolve))
}

async function ask(name: string, features?: Features): Promise<Report[]> {
  const checks = CHECKS.filter((check) => check.name === name)
  expect(checks, name).toHaveLength(1)
  using world = new World(config, {
    netns: NetworkNamespace.open(nsPath()),
    root,
    enter: enter(),
    ...(features === undefined ? {} : { features }),
  })
  return await examine(checks, world)
}

const nsPath = () => `/proc/${process.pid}/fd/${netns.fd}`
const ok = (check: string) => [{ check, level: 'ok' }]
const error = (...found: string[]) =>
  found.map((text) => expect.objectContaining({ level: 'error', found: matching(text) }))
const warning = (...found: string[]) =>
  found.map((text) => expect.objectContaining({ level: 'warning', found: matching(text) }))
const skipped = (text: string) => [
  expect.objectContaining({ level: 'skipped', found: matching(text) }),
]
const matching = (text: string) => expect.stringContaining(text)

test('forwarding: off by family, and only for the families that the node has ranges of', async () => {
  expect(await ask('forwarding')).toEqual(ok('forwarding'))
  settings.set('ipv4/conf/all/forwarding', '0')
  settings.set('ipv6/conf/all/forwarding', '0')
  expect(await ask('forwarding')).toEqual(
    error('net.ipv4.conf.all.forwarding is 0', 'net.ipv6.conf.all.forwarding is 0'),
  )
  await agentSays({})
  expect(await ask('forwarding')).toEqual(error('net.ipv4.conf.all.forwarding is 0'))
})

test('reverse path: strict for all devices, and strict on one of ours', async () => {
  await addVxlan('sb-vxlan', 8472, 'sinabro:overlay')
  settings.set('ipv4/conf/sb-vxlan/rp_filter', '0')
  expect(await ask('reverse path')).toEqual(ok('reverse path'))
  settings.set('ipv4/conf/sb-vxlan/rp_filter', '1')
  expect(await ask('reverse path')).toEqual(warning('net.ipv4.conf.sb-vxlan.rp_filter is 1'))
  settings.set('ipv4/conf/sb-vxlan/rp_filter', '2')
  settings.set('ipv4/conf/all/rp_filter', '1')
  expect(await ask('reverse path')).toEqual(warning('net.ipv4.conf.all.rp_filter is 1'))
})

test('forward policy: a chain that drops, and a rule that lets us through', async () => {
  expect(await ask('forward policy')).toEqual(ok('forward policy'))
  inside(
    'nft "table inet fw { chain forward { type filter hook forward priority 0; policy drop; ct state established accept; jump more; }; chain more { iifname eth0 accept; }; }"',
  )
  expect(await ask('forward policy')).toEqual(error('chain forward of table inet fw drops'))
  inside('nft add rule inet fw more iifname "sb*" accept')
  expect(await ask('forward policy')).toEqual(ok('forward policy'))
})

// By Debian's package iptables, which `npm test` installs.
test('forward policy: as Docker writes it, and what it says to do helps', async (ctx) => {
  ctx.skip(!existsSync('/usr/sbin/iptables-nft'), 'iptables is not installed')
  inside('iptables-nft -P FORWARD DROP')
  const [found] = await ask('forward policy')
  expect(found).toMatchObject({ found: matching('chain FORWARD of table ip filter drops') })
  // What it says to do works.
  for (const command of (found?.do ?? '').split('or: ')[1]?.split('; ') ?? []) {
    inside(command.replaceAll('"sb*"', '\\"sb*\\"'))
  }
  expect(await ask('forward policy')).toEqual(ok('forward policy'))
  inside('iptables-nft -F FORWARD; iptables-nft -I FORWARD -i sb+ -j ACCEPT')
  expect(await ask('forward policy')).toEqual(ok('forward policy'))
})

function canUseLegacy(): boolean {
  try {
    execFileSync('unshare', ['--net', 'iptables-legacy', '-S'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

test('forward policy: the old iptables, only if its table is there', async (ctx) => {
  ctx.skip(!canUseLegacy(), 'iptables-legacy is not installed, or this kernel has none')
  inside('iptables-legacy -P FORWARD DROP')
  expect(await ask('forward policy')).toEqual(error('iptables-legacy: the policy of FORWARD'))
  inside('iptables-legacy -I FORWARD -i sb+ -j ACCEPT')
  expect(await ask('forward policy')).toEqual(ok('forward policy'))
})

async function addVxlan(name: string, port: number, alias?: string, vni?: number): Promise<void> {
  const key = vni === undefined ? { collectMetadata: true } : { vni }
  await netlink.links.add({ kind: 'vxlan', name, port, ...key, ...(alias ? { alias } : {}) })
}

test('foreign tunnel: our port and number on a device that is not ours', async () => {
  await addVxlan('sb-vxlan', 4789, 'sinabro:overlay')
  expect(await ask('foreign tunnel')).toEqual(ok('foreign tunnel'))
  await addVxlan('flannel.1', 8472, undefined, 1)
  await addVxlan('other', 8472, undefined, 7)
  await addVxlan('elsewhere', 4790, undefined, 1)
  expect(await ask('foreign tunnel')).toEqual([
    ...error('device flannel.1 is a VXLAN device on port 8472 with VNI 1'),
    ...warning('device other is a VXLAN device on port 8472 with VNI 7'),
  ])
  await netlink.links.del({ name: 'flannel.1' })
  await netlink.links.del({ name: 'other' })
  await addVxlan('cilium_vxlan', 8472)
  expect(await ask('foreign tunnel')).toEqual(error('that takes every VNI'))
})

test('foreign tunnel: a process on our port, while our device is not there', async () => {
  const script = `
    const socket = require('node:dgram').createSocket('udp4')
    socket.bind(8472, () => console.log('bound'))`
  const [program = '', ...args] = [...enter(), process.execPath, '-e', script]
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    await new Promise((resolve) => child.stdout.once('data', resolve))
    expect(await ask('foreign tunnel')).toEqual(error('a process listens on UDP port 8472'))
  } finally {
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await ended
  }
  expect(await ask('foreign tunnel')).toEqual(ok('foreign tunnel'))
  // Our own tunnel has the port too: that is as it should be.
  await addVxlan('sb-vxlan', 8472, 'sinabro:overlay')
  inside('ip link set sb-vxlan up')
  expect(await ask('foreign tunnel')).toEqual(ok('foreign tunnel'))
})

test('mtu: an uplink that is too small for IPv6, and pods above what the way carries', async () => {
  await netlink.links.add({ kind: 'veth', name: 'eth0', peer: { name: 'peer0' }, isUp: true })
  inside('ip addr add 192.0.2.1/24 dev eth0; ip route add default via 192.0.2.9')
  expect(await ask('mtu')).toEqual(ok('mtu'))
  inside('ip link set eth0 mtu 1300')
  expect(await ask('mtu')).toEqual(error('the uplink eth0 carries 1300 bytes'))
  inside('ip link set eth0 mtu 1500')
  await netlink.links.add({
    ...{ kind: 'veth', name: 'sbpod', peer: { name: 'p' }, mtu: 1500 },
    alias: 'sinabro:pod/1/2/default/web/eth0',
  })
  expect(await ask('mtu')).toEqual(ok('mtu'))
  await agentSays({})
  expect(await ask('mtu')).toEqual(warning('1 pods have a larger MTU than the 1450'))
  inside('ip link set sbpod mtu 1450')
  expect(await ask('mtu')).toEqual(ok('mtu'))
})

test('without a tunnel its header needs no room, and nobody is in its way', async () => {
  await agentSays({ facts: { mtu: '1280', 'tunnel mode': 'none' } })
  await netlink.links.add({ kind: 'veth', name: 'eth0', peer: { name: 'peer0' }, isUp: true })
  inside('ip addr add 192.0.2.1/24 dev eth0; ip route add default via 192.0.2.9')
  inside('ip link set eth0 mtu 1280')
  expect(await ask('mtu')).toEqual(ok('mtu'))
  await addVxlan('flannel.1', 8472, undefined, 1)
  expect(await ask('foreign tunnel')).toEqual(ok('foreign tunnel'))
})

test('kernel features: this kernel has them; what is missing is said', async () => {
  expect(await ask('kernel features')).toEqual(ok('kernel features'))
  const without = (name: FeatureName) => new Features(FEATURE_NAMES, [name])
  for (const name of ['redirect_peer', 'btf'] as const) {
    expect(await ask('kernel features', without(name))).toEqual(
      error(`lacks ${name}, which there is no other way for`),
    )
  }
})

test('bpf file system: where things are pinned must be one', async () => {
  config = { ...config, bpfDir: join(root, 'not/there') }
  expect(await ask('bpf file system')).toEqual(error('is not on a bpf file system'))
  const mounted = join(root, 'bpf')
  mkdirSync(mounted)
  execFileSync('mount', ['-t', 'bpf', 'bpf', mounted])
  try {
    config = { ...config, bpfDir: join(mounted, 'sinabro/v1') }
    expect(await ask('bpf file system')).toEqual(ok('bpf file system'))
  } finally {
    execFileSync('umount', [mounted])
  }
})

const OURS = JSON.stringify({
  cniVersion: '1.0.0',
  name: 'sinabro',
  plugins: [{ type: 'sinabro-cni' }],
})

test('cni configuration: missing, hidden by another file, damaged', async () => {
  expect(await ask('cni configuration')).toEqual(skipped('once it is ready'))
  await agentSays({})
  expect(await ask('cni configuration')).toEqual(error('is not there, although the agent is ready'))
  put('/etc/cni/net.d/05-sinabro.conflist', OURS)
  put('/etc/cni/net.d/10-flannel.conflist', '{}')
  put('/etc/cni/net.d/00-notes.txt', '')
  expect(await ask('cni configuration')).toEqual(ok('cni configuration'))
  put('/etc/cni/net.d/05-cilium.conflist', '{}')
  put('/etc/cni/net.d/00-multus.conf', '{}')
  expect(await ask('cni configuration')).toEqual(
    error('00-multus.conf, 05-cilium.conflist in /etc/cni/net.d comes before 05-sinabro.conflist'),
  )
  rmSync(join(root, 'etc/cni/net.d/05-cilium.conflist'))
  rmSync(join(root, 'etc/cni/net.d/00-multus.conf'))
  for (const [text, message] of [
    ['{"cni', 'not JSON'],
    ['{"name":"sinabro"}', 'name or cniVersion is missing'],
    ['{"name":"x","cniVersion":"1.0.0","plugins":[{"type":"ptp"},null]}', 'no plug-in of type'],
  ] as const) {
    put('/etc/cni/net.d/05-sinabro.conflist', text)
    expect(await ask('cni configuration')).toEqual(error(message))
  }
})

test('cni configuration: not yet there while the agent is starting', async () => {
  await agentSays({ ready: false })
  expect(await ask('cni configuration')).toEqual(warning('is not there yet'))
})

test('runtime directories: as containerd of either generation has them', async () => {
  expect(await ask('runtime directories')).toEqual(skipped('there is no /etc/containerd'))
  put('/etc/containerd/config.toml', 'version = 2\n[plugins]\n')
  expect(await ask('runtime directories')).toEqual(ok('runtime directories'))
  put(
    '/etc/containerd/config.toml',
    `version = 2
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni" # Debian
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".registry]
  conf_dir = "/elsewhere"
`,
  )
  expect(await ask('runtime directories')).toEqual(
    error('containerd looks for plug-ins in /usr/lib/cni, the agent installs to /opt/cni/bin'),
  )
  put(
    '/etc/containerd/config.toml',
    `version = 3
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/opt/cni/bin', '/usr/lib/cni']
  conf_dir = '/etc/cni/other.d'
`,
  )
  expect(await ask('runtime directories')).toEqual(
    error('containerd reads network configurations in /etc/cni/other.d'),
  )
})

test('plug-ins: loopback, and our own once the agent is ready', async () => {
  expect(await ask('plug-ins')).toEqual(warning('/opt/cni/bin/loopback is not there'))
  put('/etc/containerd/config.toml', '')
  put('/opt/cni/bin/loopback', '', 0o644)
  expect(await ask('plug-ins')).toEqual(error('loopback is not there or not executable'))
  put('/opt/cni/bin/loopback', '', 0o755)
  expect(await ask('plug-ins')).toEqual(ok('plug-ins'))
  await agentSays({})
  expect(await ask('plug-ins')).toEqual(error('/opt/cni/bin/sinabro-cni is not there'))
  put('/opt/cni/bin/sinabro-cni', '', 0o755)
  expect(await ask('plug-ins')).toEqual(ok('plug-ins'))
})

test('NetworkManager: must be told to leave our devices alone', async () => {
  expect(await ask('NetworkManager')).toEqual(ok('NetworkManager'))
  mkdirSync(join(root, 'run/NetworkManager'), { recursive: true })
  put(
    '/etc/NetworkManager/conf.d/other.conf',
    '[keyfile]\nunmanaged-devices=interface-name:cali*\n',
  )
  expect(await ask('NetworkManager')).toEqual(warning('no unmanaged-devices'))
  put(
    '/etc/NetworkManager/conf.d/sinabro.conf',
    '[keyfile]\nunmanaged-devices=mac:02:00:00:00:00:01;interface-name:sb*\n',
  )
  expect(await ask('NetworkManager')).toEqual(ok('NetworkManager'))
})

test('systemd-networkd: routes it may remove, and devices of ours that it took', async () => {
  expect(await ask('systemd-networkd')).toEqual(ok('systemd-networkd'))
  await addVxlan('sb-vxlan', 8472, 'sinabro:overlay')
  const index = (await netlink.links.get({ name: 'sb-vxlan' }))?.index
  put(`/run/systemd/netif/links/${index}`, 'ADMIN_STATE=unmanaged\nOPER_STATE=off\n')
  expect(await ask('systemd-networkd')).toEqual(warning('ManageForeignRoutes=yes'))
  put('/etc/systemd/networkd.conf.d/sinabro.conf', '[Network]\nManageForeignRoutes=no\n')
  expect(await ask('systemd-networkd')).toEqual(ok('systemd-networkd'))
  put(
    `/run/systemd/netif/links/${index}`,
    'ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/99-all.network\n',
  )
  expect(await ask('systemd-networkd')).toEqual(
    error('networkd manages our device sb-vxlan by /etc/systemd/network/99-all.network'),
  )
})

test('foreign routes: another network in the range of pods', async () => {
  expect(await ask('foreign routes')).toEqual(skipped('only a running agent knows'))
  const peer: NodeView = {
    ...{
      name: 'b',
      isSelf: false,
      podCIDRs: ['fd00:2::/64'],
      internalIPs: [],
      way: 'tunnel',
      mode: 'bpf',
    },
  }
  await agentSays({}, [peer])
  await netlink.links.add({ kind: 'bridge', name: 'cni0', isUp: true })
  await netlink.links.add({ kind: 'bridge', name: 'sb0', alias: 'sinabro:own', isUp: true })
  inside('ip addr add 10.244.1.1/32 dev sb0; ip route add 10.244.1.0/25 dev sb0')
  inside('ip route add 192.168.0.0/16 dev cni0; ip route add default dev cni0')
  expect(await ask('foreign routes')).toEqual(ok('foreign routes'))
  inside('ip route add 10.244.0.0/16 dev cni0; ip -6 route add fd00:2::/96 dev cni0')
  expect(await ask('foreign routes')).toEqual(
    error(
      'a route to 10.244.0.0/16 by cni0 (protocol 3) overlaps the pod range 10.244.1.0/24',
      'a route to fd00:2::/96 by cni0',
    ),
  )
})

test('kube-proxy: its rules beside ours, or nobody who serves', async () => {
  expect(await ask('kube-proxy')).toEqual(skipped('only a running agent knows'))
  await agentSays({ source: 'kubernetes:https://192.0.2.1:6443', facts: { services: 'none' } })
  expect(await ask('kube-proxy')).toEqual(warning('--services is none, and no rules of kube-proxy'))
  inside('nft add table ip kube-proxy; nft add chain ip kube-proxy services')
  inside('iptables-nft -t nat -N KUBE-SERVICES; iptables-nft -N KUBE-FIREWALL')
  expect(await ask('kube-proxy')).toEqual(ok('kube-proxy'))
})

test('kube-proxy beside --services ebpf: rules are a warning, IPVS is an error', () => {
  const rules = { kind: 'nftables', family: 4, table: 'kube-proxy', chains: 3 } as const
  const ipvs = { kind: 'ipvs', family: 4, table: 'ip_vs', chains: 2 } as const
  expect(judgeProxy(true, true, { found: [rules, ipvs] })).toEqual([
    ...error('IPVS (2 virtual servers) of kube-proxy beside --services ebpf'),
    ...warning('nftables table ip kube-proxy (3 chains)'),
  ])
  expect(judgeProxy(true, true, { found: [] })).toEqual([])
  expect(judgeProxy(false, false, { found: [] })).toEqual([])
})

test('xdp: an uplink that does not take it', async () => {
  expect(await ask('xdp')).toEqual(skipped('only a running agent knows'))
  const since = 0
  const message = 'the driver of eth0 does not take XDP in mode native: set --xdp generic or off'
  await agentSays({
    components: [{ component: 'xdp', state: 'degraded', since, message }],
    problems: [{ where: 'xdp', message }],
  })
  expect(await ask('xdp')).toEqual(warning('the driver of eth0 does not take XDP'))
  expect(await ask('agent')).toEqual(ok('agent'))
})

test('xdp: off, or on every uplink', async () => {
  await agentSays({ facts: { xdp: 'native on eth0' } })
  expect(await ask('xdp')).toEqual(ok('xdp'))
})

test('agent: does not answer, or says what does not work', async () => {
  expect(await ask('agent')).toEqual(error('no agent answers at'))
  const since = 0
  await agentSays({
    components: [
      { component: 'pods', state: 'ok', since },
      { component: 'overlay', state: 'degraded', since, message: 'no way' },
      { component: 'own node', state: 'starting', since, message: 'not read' },
    ],
    problems: [{ where: '/x/a.yaml:3', object: 'Node/b', message: 'no podCIDRs' }],
  })
  expect(await ask('agent')).toEqual([
    ...error('overlay is degraded: no way', 'own node is starting: not read'),
    ...warning('/x/a.yaml:3: Node/b no podCIDRs'),
  ])
})

test('all checks together change nothing in the node', async () => {
  const state = () =>
    execFileSync(
      'nsenter',
      [
        ...enter().slice(1),
        'sh',
        '-c',
        'ip -d link; ip route; nft list ruleset; cat /proc/net/ip_tables_names; sysctl net 2>/dev/null | grep -v "nf_conntrack_count\\|random\\|generation"',
      ],
      { encoding: 'utf8' },
    )
  const before = state()
  using world = new World(config, {
    netns: NetworkNamespace.open(nsPath()),
    root,
    enter: enter(),
  })
  const reports = await examine(CHECKS, world)
  expect(new Set(reports.map(({ check }) => check)).size).toBe(CHECKS.length)
  expect(state()).toBe(before)
})

test('showFindings() has the worst first, then what was skipped, then what is well', () => {
  const finding = { means: 'm', do: 'd' }
  const text = showFindings([
    { check: 'a', level: 'ok' },
    { check: 'b', level: 'skipped', found: 'why' },
    { check: 'c', level: 'warning', found: 'w\u001b[2J', ...finding },
    { check: 'd', level: 'error', found: 'e', ...finding },
    { check: 'e', level: 'ok' },
  ])
  expect(text).toBe(
    [
      'ERROR  d: e\n  means  m\n  do     d',
      'WARNING  c: w\\u{1b}[2J\n  means  m\n  do     d',
      'skipped  b: why',
      'ok  a, e',
    ].join('\n\n'),
  )
})
