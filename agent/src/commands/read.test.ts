// The command line as people write it: what is asked for, what is refused and how.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { EXIT } from '../config.ts'
import { readCommandLine } from './read.ts'

function read(...argv: string[]) {
  let out = ''
  let err = ''
  const request = readCommandLine(argv, {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
  })
  return { request, out, err }
}

const COMMANDS = [
  ...['agent', 'status', 'pods', 'addresses', 'nodes', 'programs', 'flows', 'services'],
  ...['backends', 'doctor'],
  ...['uninstall', 'version'],
]

test('agent takes its defaults from the places that design and runtimes expect', () => {
  const { request } = read('agent', '--source', 'manifests:/etc/sinabro/cluster')
  expect(request).toEqual({
    command: 'agent',
    config: {
      source: { kind: 'manifests', dir: '/etc/sinabro/cluster' },
      nodeName: hostname().toLowerCase(),
      stateDir: '/var/lib/sinabro',
      runDir: '/run/sinabro',
      bpfDir: '/sys/fs/bpf/sinabro',
      cniConfDir: '/etc/cni/net.d',
      cniBinDir: '/opt/cni/bin',
      tunnel: 'bpf',
      tunnelPort: 8472,
      vni: 1,
      tunnelFamily: 'auto',
      clusterCidrs: [],
      uplinks: [],
      attach: 'auto',
      podDevice: 'auto',
      withoutFeatures: [],
      masquerade: 'ebpf',
      masqueradePorts: { first: 32_768, last: 65_535 },
      reservedPorts: [],
      nonMasqueradeCidrs: [],
      services: 'none',
      servicesMax: 131_072,
      xdp: 'off',
      backendChoice: 'random',
      nodePortAddresses: 'primary',
      serviceForwarding: 'snat',
      serviceCidrs: [],
      externalIpCidrs: [],
      healthzAddress: { host: '0.0.0.0', port: 10_256 },
      proxyModeAddress: { host: '127.0.0.1', port: 10_249 },
      cleanKubeProxy: false,
      reclaimGraceSec: 60,
      logLevel: 'info',
    },
  })
})

test('agent takes every setting', () => {
  const { request } = read(
    ...['agent', '--source=manifests:rel', '--node-name', 'n1', '--state-dir', '/s', '--run-dir'],
    ...['/r', '--bpf-dir', '/b', '--cni-conf-dir', '/c', '--cni-bin-dir', '/d', '--tunnel-port'],
    ...[
      '4789',
      '--vni',
      '7',
      '--tunnel',
      'none',
      '--tunnel-family',
      '6',
      '--cluster-cidrs',
      '10.0.0.0/8,fd00::/8',
    ],
    ...['--non-masquerade-cidrs', '198.51.100.0/24', '--service-cidrs', '10.96.0.0/12,FD96::/112'],
    ...['--external-ip-cidrs', '198.51.100.0/24', '--clean-kube-proxy', 'yes'],
    ...['--healthz-bind-address', '[2001:db8::1]:10256', '--proxy-mode-address', 'none'],
    ...['--services', 'ebpf', '--services-max', '4096', '--xdp', 'native'],
    ...['--backend-choice', 'maglev'],
    ...['--node-port-addresses', '192.0.2.0/24,2001:DB8::/64'],
    ...[
      '--uplinks',
      'eth0,eth1.100',
      '--pod-device',
      'netkit',
      '--without-features',
      'tcx,map_batch',
      '--attach',
      'clsact',
      '--cgroup-root',
      '/cg',
      '--masquerade',
      'none',
      '--masquerade-ports',
      '40000-40100',
      '--reserved-ports',
      '40007,40010-40019',
      '--flows-max',
      '1048576',
      '--reclaim-grace-sec',
      '5',
      '--log-level',
      'debug',
      '--crash-at',
      'p:3',
    ],
  )
  expect(request).toEqual({
    command: 'agent',
    config: {
      source: { kind: 'manifests', dir: `${process.cwd()}/rel` },
      nodeName: 'n1',
      stateDir: '/s',
      runDir: '/r',
      bpfDir: '/b',
      cniConfDir: '/c',
      cniBinDir: '/d',
      tunnel: 'none',
      tunnelPort: 4789,
      vni: 7,
      tunnelFamily: 6,
      clusterCidrs: ['10.0.0.0/8', 'fd00::/8'],
      uplinks: ['eth0', 'eth1.100'],
      attach: 'clsact',
      cgroupRoot: '/cg',
      podDevice: 'netkit',
      withoutFeatures: ['tcx', 'map_batch'],
      masquerade: 'none',
      masqueradePorts: { first: 40_000, last: 40_100 },
      reservedPorts: [
        { first: 40_007, last: 40_007 },
        { first: 40_010, last: 40_019 },
      ],
      nonMasqueradeCidrs: ['198.51.100.0/24'],
      services: 'ebpf',
      servicesMax: 4096,
      xdp: 'native',
      backendChoice: 'maglev',
      nodePortAddresses: ['192.0.2.0/24', '2001:db8::/64'],
      serviceForwarding: 'snat',
      serviceCidrs: ['10.96.0.0/12', 'fd96::/112'],
      externalIpCidrs: ['198.51.100.0/24'],
      healthzAddress: { host: '2001:db8::1', port: 10_256 },
      cleanKubeProxy: true,
      flowsMax: 1_048_576,
      reclaimGraceSec: 5,
      logLevel: 'debug',
      crashAt: { point: 'p', pass: 3 },
    },
  })
})

test('direct server return is by our tunnel, and of addresses that other nodes know', () => {
  const words = ['agent', '--source=manifests:rel', '--service-forwarding', 'dsr'] as const
  expect(read(...words).request).toMatchObject({ config: { serviceForwarding: 'dsr' } })
  expect(read(...words, '--tunnel', 'none').request).toMatchObject({ config: { tunnel: 'none' } })
  expect(read(...words, '--tunnel', 'kernel').err).toContain('the kernel has its port; use snat')
  const ranges = ['--node-port-addresses', '192.0.2.0/24']
  expect(read(...words, ...ranges).err).toContain('needs --node-port-addresses primary')
})

test.each([
  [['agent'], "required option '--source <kind>' not specified"],
  [['agent', '--source', '/etc/x'], 'expected kubernetes, or manifests:DIR'],
  [['agent', '--source', 'kubernetes:x'], 'expected kubernetes, or manifests:DIR'],
  [
    ['agent', '--source', 'manifests:x', '--vni', '0'],
    'expected a whole number from 1 to 16777215',
  ],
  [['agent', '--source', 'manifests:x', '--tunnel-port', '1e3'], 'from 1 to 65535'],
  [['agent', '--source', 'manifests:x', '--flows-max', '100'], 'from 1024 to 4194304'],
  [['agent', '--source', 'manifests:x', '--masquerade-ports', '1024-65535'], 'from 30000 to 65535'],
  [['agent', '--source', 'manifests:x', '--masquerade-ports', '40000-39999'], 'FIRST-LAST'],
  [['agent', '--source', 'manifests:x', '--reserved-ports', '70000'], 'ports or ranges of them'],
  [['agent', '--source', 'manifests:x', '--service-cidrs', '10.96.0.1/12'], 'expected ranges'],
  [
    ['agent', '--source', 'manifests:x', '--tunnel', 'vxlan'],
    'Allowed choices are bpf, kernel, none',
  ],
  [
    ['agent', '--source', 'manifests:x', '--attach', 'xdp'],
    'Allowed choices are auto, tcx, clsact',
  ],
  [['agent', '--source', 'manifests:x', '--state-dir', ''], 'expected a directory'],
  [['agent', '--source', 'manifests:x', 'extra'], 'too many arguments'],
  [
    ['agent', '--source', 'manifests:x', '--healthz-bind-address', ':10256'],
    'expected an address of the node with a port',
  ],
  [
    ['agent', '--source', 'manifests:x', '--proxy-mode-address', '0.0.0.0:10249'],
    'expected a loopback address',
  ],
  [['status', '-o', 'xml'], 'Allowed choices are table, json, yaml'],
  [
    ['flows', '--state', 'shut'],
    'Allowed choices are opening, established, closing, closed, unreplied, replied',
  ],
  [['flows', '--limit', '0'], 'expected a whole number from 1 to 100000'],
  [['statsu'], "unknown command 'statsu'"],
  [['status', '--colour'], "unknown option '--colour'"],
])('%j is refused with what was expected', (argv, message) => {
  const { request, out, err } = read(...argv)
  expect(request).toEqual({ command: 'none', exitCode: EXIT.usage })
  expect(err).toContain(message)
  expect(out).toBe('')
})

test('help is no failure and teaches: exit codes, and an example that can be pasted', () => {
  const help = read('--help')
  expect(help.request).toEqual({ command: 'none', exitCode: EXIT.ok })
  expect(help.out).toContain('3  no agent answers')
  for (const name of COMMANDS) expect(help.out).toContain(`\n  ${name} `)
  expect(read('agent', '--help').out).toContain(
    'sinabro agent --source manifests:/etc/sinabro/cluster',
  )
  expect(read().request).toEqual({ command: 'none', exitCode: EXIT.usage })
})

test('status, pods, uninstall and version know what they need', () => {
  expect(read('status').request).toEqual({
    command: 'status',
    view: { socket: '/run/sinabro/agent.sock', output: 'table' },
  })
  expect(read('pods', '--run-dir', '/r', '--output', 'yaml').request).toEqual({
    command: 'pods',
    view: { socket: '/r/agent.sock', output: 'yaml' },
  })
  for (const command of ['addresses', 'nodes', 'programs']) {
    expect(read(command, '-o', 'json').request).toEqual({
      command,
      view: { socket: '/run/sinabro/agent.sock', output: 'json' },
    })
  }
  expect(
    read('flows', '--pod', 'default/web', '--to', '10.0.0.0/8', '--state', 'closing').request,
  ).toEqual({
    command: 'flows',
    view: { socket: '/run/sinabro/agent.sock', output: 'table' },
    flows: { pod: 'default/web', to: '10.0.0.0/8', state: 'closing' },
  })
  const seen = { socket: '/run/sinabro/agent.sock', output: 'table' }
  expect(read('services').request).toEqual({ command: 'services', view: seen })
  expect(read('services', 'default/web', '-o', 'json').request).toEqual({
    command: 'services',
    view: { ...seen, output: 'json' },
    name: 'default/web',
  })
  const words = ['[fd00::1]:53', '--protocol', 'udp', '--from', 'web', '-o', 'json']
  expect(read('services', 'explain', ...words).request).toEqual({
    command: 'explain-service',
    view: { ...seen, output: 'json' },
    asked: { address: 'fd00::1', port: 53, protocol: 'udp', from: 'web' },
  })
  expect(read('services', 'explain', '10.96.0.1').err).toContain('expected ADDRESS:PORT')
  expect(read('backends', '--service', 'web', '--limit', '5').request).toEqual({
    command: 'backends',
    view: seen,
    service: 'web',
    limit: 5,
  })
  expect(read('doctor', '--run-dir', '/r', '-o', 'yaml').request).toEqual({
    command: 'doctor',
    config: {
      socket: '/r/agent.sock',
      bpfDir: '/sys/fs/bpf/sinabro',
      cniConfDir: '/etc/cni/net.d',
      cniBinDir: '/opt/cni/bin',
      tunnelPort: 8472,
      vni: 1,
      containerdConfig: '/etc/containerd/config.toml',
    },
    output: 'yaml',
  })
  expect(read('uninstall', '--force').request).toMatchObject({ config: { isForced: true } })
  expect(read('version').request).toEqual({ command: 'version' })
})

test.each([
  ['127.0.0.1:9471', { host: '127.0.0.1', port: 9471 }],
  ['127.8.9.1:1', { host: '127.8.9.1', port: 1 }],
  ['[::1]:65535', { host: '::1', port: 65_535 }],
])('--metrics-address %s is taken', (text, metricsAddress) => {
  const { request } = read('agent', '--source=manifests:/x', '--metrics-address', text)
  expect(request).toMatchObject({ config: { metricsAddress } })
})

test.each([
  ...['0.0.0.0:9471', '[::]:9471', '10.0.0.1:9471', ':9471', '9471', 'localhost:9471'],
  ...['127.0.0.1:0', '127.0.0.1:70000', '127.0.0.1', '127.1:80', '[::ffff:127.0.0.1]:1'],
])('--metrics-address %s is refused: not loopback for certain', (text) => {
  const { request, err } = read('agent', '--source=manifests:/x', '--metrics-address', text)
  expect(request).toEqual({ command: 'none', exitCode: EXIT.usage })
  expect(err).toContain('expected a loopback address')
})

test('agent takes its settings from the files of --config-dir too; the command line wins, a name that is no flag is refused', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sinabro-config-'))
  try {
    mkdirSync(join(folder, '..data'))
    writeFileSync(join(folder, 'source'), 'manifests:/x\n')
    writeFileSync(join(folder, 'vni'), '7')
    writeFileSync(join(folder, 'tunnel-port'), '4789')
    writeFileSync(join(folder, 'uplinks'), '\n')
    expect(read('agent', '--config-dir', folder, '--vni', '9').request).toMatchObject({
      config: { source: { dir: '/x' }, vni: 9, tunnelPort: 4789, uplinks: [] },
    })
    writeFileSync(join(folder, 'tunel-port'), '1')
    expect(read('agent', `--config-dir=${folder}`).err).toContain("unknown option '--tunel-port")
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('agent in a cluster asks the named API servers first and that of its pod last', () => {
  vi.stubEnv('KUBERNETES_SERVICE_HOST', 'fd00::1')
  vi.stubEnv('KUBERNETES_SERVICE_PORT', '443')
  const servers = ['--kubernetes-api', 'https://192.0.2.1:6443,https://b.example']
  const { request } = read('agent', '--source', 'kubernetes', ...servers)
  vi.unstubAllEnvs()
  expect(request).toMatchObject({
    config: {
      source: {
        kind: 'kubernetes',
        servers: ['https://192.0.2.1:6443/', 'https://b.example/', 'https://[fd00::1]/'],
        serviceAccountDir: '/var/run/secrets/kubernetes.io/serviceaccount',
      },
    },
  })
  expect(read('agent', '--source', 'kubernetes').err).toContain("needs '--kubernetes-api")
  for (const bad of ['http://192.0.2.1:8080', '192.0.2.1:6443', 'https://u:p@a', 'https://a?b=c']) {
    expect(read('agent', '--source', 'kubernetes', '--kubernetes-api', bad).err).toContain(
      'expected https://HOST:PORT',
    )
  }
})

test('docs/cli.md has a part for every command and a row for every exit code', () => {
  const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8')
  for (const name of COMMANDS.filter((one) => one !== 'version')) {
    expect(page).toContain(`\n## sinabro ${name}\n`)
  }
  for (const code of Object.values(EXIT)) expect(page).toMatch(new RegExp(`^\\| ${code} \\| `, 'm'))
})

test.each(COMMANDS)('the help of %s says what it is for, and every option what it does', (name) => {
  const { out, request } = read(name, '--help')
  expect(request).toEqual({ command: 'none', exitCode: EXIT.ok })
  const [usage = '', ...rest] = out.split('\n')
  expect(usage).toMatch(new RegExp(`^Usage: sinabro ${name}`))
  expect(rest.join('\n')).toMatch(/^\n\S/)
  for (const line of out.split('\n').filter((one) => /^ {2}-{1,2}[a-z]/i.test(one))) {
    expect(line).toMatch(/^ {2}-.*\S {2,}\S|^ {2}-\S+ <\S+>$/)
  }
})
