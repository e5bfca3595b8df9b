// The options that commands share, and how their text is read; the environment is read here too, by the names that options have there.
import { isIPv4, isIPv6 } from 'node:net'
import { resolve } from 'node:path'
import { formatPrefix, parsePrefix } from '@sinabro/node-netlink'
import { InvalidArgumentError, Option } from 'commander'
import type { CrashAt, HostPort, ManifestsFrom } from '../config.ts'
import { FEATURE_NAMES, type FeatureName, isFeatureName } from '../features/table.ts'
import { parsePorts, parseRange } from '../masquerade/ports.ts'
import type { PortRange } from '../masquerade/rows.ts'
import { RULES_PORTS } from '../masquerade/ruleset.ts'
import type { NodePortAddresses } from '../services/node-addresses.ts'

const STATE_DIR = '/var/lib/sinabro'
const RUN_DIR = '/run/sinabro'
const BPF_DIR = '/sys/fs/bpf/sinabro'
const CNI_CONF_DIR = '/etc/cni/net.d'
const CNI_BIN_DIR = '/opt/cni/bin'

export const stateDirOption = (): Option =>
  dirOption('state', 'what must survive a reboot', STATE_DIR)
export const runDirOption = (): Option => dirOption('run', "where the agent's socket is", RUN_DIR)
export const bpfDirOption = (): Option =>
  dirOption('bpf', 'where programs and maps are pinned, on a BPF file system', BPF_DIR)
export const cniConfDirOption = (): Option =>
  dirOption('cni-conf', 'where the container runtime reads network configurations', CNI_CONF_DIR)
export const cniBinDirOption = (): Option =>
  dirOption('cni-bin', 'where the container runtime looks for plug-ins', CNI_BIN_DIR)

export const outputOption = (): Option =>
  new Option('-o, --output <format>', 'table for people, json and yaml for programs')
    .choices(['table', 'json', 'yaml'])
    .default('table')

export const tunnelPortOption = (): Option =>
  new Option('--tunnel-port <port>', 'UDP port of the tunnel between nodes, the same on all')
    .env('SINABRO_TUNNEL_PORT')
    .argParser(wholeNumber(1, 65_535))
    .default(8472)

export const vniOption = (): Option =>
  new Option('--vni <number>', 'VXLAN network identifier, the same on all nodes')
    .env('SINABRO_VNI')
    .argParser(wholeNumber(1, (1 << 24) - 1))
    .default(1)

function dirOption(name: string, what: string, where: string): Option {
  return new Option(`--${name}-dir <dir>`, what)
    .env(`SINABRO_${name.toUpperCase().replace('-', '_')}_DIR`)
    .argParser(directory)
    .default(where)
}

export function directory(text: string): string {
  if (text === '') throw new InvalidArgumentError('expected a directory')
  return resolve(text)
}

/** Where the objects come from; what belongs to it besides is added by the command. */
export type ParsedSource = ManifestsFrom | { readonly kind: 'kubernetes' }

export function parseSource(text: string): ParsedSource {
  if (text === 'kubernetes') return { kind: 'kubernetes' }
  const [, kind, dir] = /^([a-z]+):(.+)$/.exec(text) ?? []
  if (kind !== 'manifests' || dir === undefined) {
    throw new InvalidArgumentError(
      'expected kubernetes, or manifests:DIR with a directory of YAML files',
    )
  }
  return { kind, dir: resolve(dir) }
}

/** Only what is encrypted: the token that goes there opens more than our own doors. */
export function parseServers(text: string): string[] {
  return text
    .split(',')
    .filter((server) => server !== '')
    .map((server) => {
      const url = URL.parse(server)
      if (url?.protocol === 'https:' && url.username === '' && url.search === '') return url.href
      throw new InvalidArgumentError('expected https://HOST:PORT, several separated by commas')
    })
}

/** Where a pod finds the API server: by the address of its Service, which needs kube-proxy or whoever does its work. */
export function serviceServer(environment: NodeJS.ProcessEnv): string | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment
  if (host === undefined || host === '' || !/^\d+$/.test(port ?? '')) return undefined
  return new URL(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`).href
}

/** Whoever can reach it reads which pods there are and how much they talk; so nobody beyond this machine. */
export function parseLoopback(text: string): HostPort {
  const [, v4, v6, digits] = /^(?:([0-9.]+)|\[([0-9a-f:]+)\]):(\d{1,5})$/i.exec(text) ?? []
  const host = v4 ?? v6 ?? ''
  const port = Number(digits)
  const isLoopback = (isIPv4(host) && host.startsWith('127.')) || host === '::1'
  if (isLoopback && port >= 1 && port <= 65_535) return { host, port }
  throw new InvalidArgumentError(
    'expected a loopback address with a port, 127.0.0.1:PORT or [::1]:PORT; others could be reached from the network',
  )
}

/** For whoever asks from the network; `none` for nowhere. */
export function parseListenAddress(text: string): HostPort | 'none' {
  if (text === 'none') return text
  const found = splitAddressPort(text)
  if (found !== undefined) return found
  throw new InvalidArgumentError(
    'expected an address of the node with a port, 0.0.0.0:10256 for all of its addresses, or none',
  )
}

export function parseAddressPort(text: string): HostPort {
  const found = splitAddressPort(text)
  if (found !== undefined) return found
  throw new InvalidArgumentError('expected ADDRESS:PORT, as 10.96.0.1:443 or [fd00::1]:443')
}

function splitAddressPort(text: string): HostPort | undefined {
  const [, v4, v6, digits] = /^(?:([0-9.]+)|\[([0-9a-f:.]+)\]):(\d{1,5})$/i.exec(text) ?? []
  const host = v4 ?? v6 ?? ''
  const port = Number(digits)
  const isAddress = v4 === undefined ? isIPv6(host) : isIPv4(host)
  return isAddress && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

export function parseLoopbackOrNone(text: string): HostPort | 'none' {
  return text === 'none' ? text : parseLoopback(text)
}

export function parseCrashAt(text: string): CrashAt {
  const [, point, pass] = /^(.*?)(?::(\d+))?$/.exec(text) ?? []
  if (point === undefined || point === '') throw new InvalidArgumentError('expected a point')
  return { point, pass: Number(pass ?? 1) }
}

export function parseFeatures(text: string): FeatureName[] {
  return text
    .split(',')
    .filter((name) => name !== '')
    .map((name) => {
      if (isFeatureName(name)) return name
      throw new InvalidArgumentError(`there is no ${name}; there are ${FEATURE_NAMES.join(', ')}`)
    })
}

/** Prefixes in canonical text. */
export function parseRanges(text: string): string[] {
  return text
    .split(',')
    .filter((range) => range !== '')
    .map((range) => {
      try {
        return formatPrefix(parsePrefix(range.trim()))
      } catch {
        throw new InvalidArgumentError(
          `expected ranges such as 10.0.0.0/8 or fd00::/8, separated by commas, found ${range}`,
        )
      }
    })
}

/** Below are the ports that the rules of nftables choose from, and Kubernetes' node ports. */
const FIRST_PORT = RULES_PORTS.last + 1

export function parseMasqueradePorts(text: string): PortRange {
  const range = parseRange(text)
  if (range !== undefined && range.first >= FIRST_PORT) return range
  throw new InvalidArgumentError(`expected FIRST-LAST, from ${FIRST_PORT} to 65535`)
}

export function parseReservedPorts(text: string): PortRange[] {
  const ranges = parsePorts(text)
  if (ranges !== undefined) return ranges
  throw new InvalidArgumentError('expected ports or ranges of them, such as 40000,41000-41010')
}

export function parseNodePortAddresses(text: string): NodePortAddresses {
  return text === 'primary' ? text : parseRanges(text)
}

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}`)
  }
}
