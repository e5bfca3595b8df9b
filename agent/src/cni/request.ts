// Decodes what came over the socket into a request that the rest of the room may trust; refuses what it cannot name.
import {
  type Attachment,
  type CniRequest,
  codes,
  limits,
  type NetworkConfig,
  type Sequence,
} from '@sinabro/cni/wire'
import { type Bandwidth, LimitError, parseBandwidth } from '../bandwidth/limits.ts'
import {
  type PortMapping,
  PortMappingError,
  parsePortMappings,
} from '../services/host-port-mappings.ts'
import { CniError } from './error.ts'

/** CNI specification, "Network configuration format" and "Parameters": the same pattern for names and container ids. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

export interface PodOwner {
  readonly podNamespace?: string
  readonly podName?: string
  readonly podUid?: string
}

/** What STATUS and GC ask: they are about the network, so container, interface and namespace mean nothing. */
export function decodeNetworkRequest(body: unknown): CniRequest {
  const request = object(body, 'request')
  return {
    cniVersion: text(request, 'cniVersion'),
    containerId: '',
    netns: '',
    ifname: '',
    args: '',
    path: '',
    config: decodeConfig(request.config),
    sequence: decodeSequence(request.sequence),
  }
}

/** CNI specification, "GC": an absent or null list means that the caller does not know, an empty one that nothing is to stay. */
export function decodeValidAttachments(config: NetworkConfig): Attachment[] {
  const list: unknown = config['cni.dev/valid-attachments'] ?? config['cni.dev/attachments']
  if (!Array.isArray(list)) {
    throw new CniError(codes.invalidConfig, 'cni.dev/valid-attachments: expected a list')
  }
  return list.map((one: unknown) => {
    const attachment = object(one, 'cni.dev/valid-attachments')
    return { containerID: text(attachment, 'containerID'), ifname: text(attachment, 'ifname') }
  })
}

/** @throws CniError with the code of what is wrong; nothing was done by then */
export function decodeRequest(body: unknown): CniRequest {
  const request = object(body, 'request')
  const config = decodeConfig(request.config)
  const containerId = text(request, 'containerId')
  if (!NAME.test(containerId) || containerId.length > limits.containerIdLength) {
    throw new CniError(
      codes.invalidEnvironment,
      `CNI_CONTAINERID: not a container id: ${show(containerId)}`,
    )
  }
  const ifname = text(request, 'ifname')
  if (!isInterfaceName(ifname)) {
    throw new CniError(
      codes.invalidEnvironment,
      `CNI_IFNAME: not an interface name: ${show(ifname)}`,
    )
  }
  const netns = text(request, 'netns')
  if (netns !== '' && (!netns.startsWith('/') || netns.includes('\0'))) {
    throw new CniError(codes.invalidEnvironment, `CNI_NETNS: not an absolute path: ${show(netns)}`)
  }
  return {
    cniVersion: text(request, 'cniVersion'),
    containerId,
    netns,
    ifname,
    args: text(request, 'args'),
    path: text(request, 'path'),
    config,
    sequence: decodeSequence(request.sequence),
  }
}

/** CNI_ARGS as Kubernetes' runtimes fill it; other members are other people's and are left alone. */
export function decodeOwner(args: string): PodOwner {
  const values = new Map(
    args.split(';').map((pair): [string, string] => {
      const at = pair.indexOf('=')
      return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )
  const owner: { podNamespace?: string; podName?: string; podUid?: string } = {}
  const namespace = values.get('K8S_POD_NAMESPACE')
  const name = values.get('K8S_POD_NAME')
  const uid = values.get('K8S_POD_UID')
  if (namespace) owner.podNamespace = namespace
  if (name) owner.podName = name
  if (uid) owner.podUid = uid
  return owner
}

/**
 * Addresses that the attachment is to get, from all places where they may stand: capability `ips`, `args.cni.ips` of the
 * configuration, `IP` in CNI_ARGS. Text as it came, each once.
 */
export function decodeAsked({ config, args }: Pick<CniRequest, 'config' | 'args'>): string[] {
  const fromArgs = args.split(';').find((pair) => pair.startsWith('IP='))
  const asked = [
    ...list(config.runtimeConfig?.ips, 'runtimeConfig.ips'),
    ...list(member(member(config.args, 'cni'), 'ips'), 'args.cni.ips'),
    ...(fromArgs?.slice('IP='.length).split(',') ?? []),
  ]
  return [...new Set(asked.filter((one) => one !== ''))]
}

/**
 * The MAC that the interface is to get, canonical: capability `mac`, `args.cni.mac` of the configuration, `MAC` in CNI_ARGS; the
 * first of them counts. @throws CniError invalidConfig
 */
export function decodeMac({
  config,
  args,
}: Pick<CniRequest, 'config' | 'args'>): string | undefined {
  const fromArgs = args.split(';').find((pair) => pair.startsWith('MAC='))
  const places: readonly [string, unknown][] = [
    ['runtimeConfig.mac', config.runtimeConfig?.mac],
    ['args.cni.mac', member(member(config.args, 'cni'), 'mac')],
    ['MAC in CNI_ARGS', fromArgs?.slice('MAC='.length)],
  ]
  // Runtimes fill in a capability that nobody asked for with an empty value.
  const given = places.find(([, mac]) => mac !== undefined && mac !== null && mac !== '')
  return given === undefined ? undefined : unicastMac(given[1], given[0])
}

/** What the attachment is held to: capability `bandwidth`. @throws CniError invalidConfig */
export function decodeBandwidth({ config }: Pick<CniRequest, 'config'>): Bandwidth | undefined {
  try {
    return parseBandwidth(config.runtimeConfig?.bandwidth)
  } catch (error) {
    if (!(error instanceof LimitError)) throw error
    throw new CniError(codes.invalidConfig, `runtimeConfig.bandwidth: ${error.message}`)
  }
}

/** Ports of the node that lead to the attachment: capability `portMappings`. @throws CniError invalidConfig */
export function decodePortMappings({ config }: Pick<CniRequest, 'config'>): readonly PortMapping[] {
  try {
    return parsePortMappings(config.runtimeConfig?.portMappings)
  } catch (error) {
    if (!(error instanceof PortMappingError)) throw error
    throw new CniError(codes.invalidConfig, `runtimeConfig.portMappings: ${error.message}`)
  }
}

/** is_valid_ether_addr() of the kernel: neither zero nor a group's. */
function unicastMac(value: unknown, what: string): string {
  const isMac = typeof value === 'string' && /^[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}$/i.test(value)
  const mac = isMac ? value.toLowerCase().replaceAll('-', ':') : ''
  const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1
  if (mac !== '' && mac !== '00:00:00:00:00:00' && !isGroup) return mac
  const found = show(typeof value === 'string' ? value : typeof value)
  throw new CniError(
    codes.invalidConfig,
    `${what}: expected the MAC of one interface, such as 02:00:00:00:00:01, found ${found}`,
  )
}

function list(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value
  throw new CniError(codes.invalidConfig, `${what}: expected a list of addresses`)
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return (value as Readonly<Record<string, unknown>>)[name]
}

/** dev_valid_name() of the kernel (net/core/dev.c), less what dev_alloc_name() makes another name of. */
function isInterfaceName(name: string): boolean {
  if (name === '' || Buffer.byteLength(name) > limits.interfaceNameLength) return false
  return name !== '.' && name !== '..' && !/[\s/:%\0]/.test(name)
}

function decodeConfig(value: unknown): NetworkConfig {
  const config = object(value, 'config')
  const name = text(config, 'name')
  if (!NAME.test(name) || name.length > limits.networkNameLength) {
    throw new CniError(codes.invalidConfig, `config: not a network name: ${show(name)}`)
  }
  return { ...config, cniVersion: text(config, 'cniVersion'), name, type: text(config, 'type') }
}

function decodeSequence(value: unknown): Sequence {
  const sequence = object(value, 'sequence')
  const bootTimeUs = sequence.bootTimeUs
  if (typeof bootTimeUs !== 'number' || !Number.isSafeInteger(bootTimeUs) || bootTimeUs < 0) {
    throw new CniError(
      codes.decodingFailure,
      'sequence.bootTimeUs: expected a whole number of microseconds',
    )
  }
  return { bootId: text(sequence, 'bootId'), bootTimeUs }
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CniError(codes.decodingFailure, `${what}: expected an object`)
  }
  return { ...value }
}

function text(from: Record<string, unknown>, member: string): string {
  const value = from[member]
  if (typeof value !== 'string') {
    throw new CniError(codes.decodingFailure, `${member}: expected a string`)
  }
  return value
}

function show(value: string): string {
  return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value)
}
