// Takes everything of ours off a node: files, devices, routes, rules, pins. Refuses while pods live by it; touches nothing of others.
import { readdir, readFile, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { outageFileName, type QueueEntry, queueDirName } from '@sinabro/cni/wire'
import { type Link, type NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { post } from './api/client.ts'
import { CniError } from './cni/error.ts'
import { uninstallFiles } from './cni/install.ts'
import { LEAVE_PATH, LEAVING_FILE } from './cni/leaving.ts'
import { decodeRequest } from './cni/request.ts'
import { socketPath } from './config.ts'
import { CgroupHooks } from './datapath/cgroup-hooks.ts'
import { keyDigest } from './ipam/allocation.ts'
import { parseRecordName } from './ipam/record.ts'
import {
  ALIAS_PREFIX,
  NFT_NAT_TABLE,
  NFT_SCTP_TABLE,
  NFT_SERVICES_TABLE,
  NFT_TABLE,
  OVERLAY_ALIAS,
  ROUTE_PROTOCOL,
  TC_HANDLE,
  TC_PRIORITY,
} from './marks.ts'
import { createNft, type Nft } from './masquerade/nft.ts'
import { removeRules } from './masquerade/target.ts'
import { parseAlias } from './pods/compute.ts'
import { type Lock, lockDirectory } from './runtime/lock.ts'
import { HEALTH_MEMORY_FILE } from './services/health-memory.ts'

export interface UninstallOptions {
  readonly stateDir: string
  readonly runDir: string
  readonly bpfDir: string
  readonly cniConfDir: string
  readonly cniBinDir: string
  /** Also while pods are attached: they lose their network. */
  readonly isForced: boolean
}

/** Another node than the one this process runs on. */
export interface UninstallKernel {
  readonly netns?: NetworkNamespace
  readonly nft?: Nft
}

export class UninstallError extends Error {
  override readonly name = 'UninstallError'
  readonly code: 'attachments' | 'not-root'

  constructor(code: UninstallError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** What the agent keeps in its state folder, by name: the folder itself may hold other people's files. */
const STATE_ENTRIES = [
  'allocations',
  'quarantine',
  'queue',
  'queue-unreadable',
  'cluster.json',
  'cluster.json.unreadable',
  'counters.json',
  HEALTH_MEMORY_FILE,
  LEAVING_FILE,
  'released.log',
]

const NFT_TIMEOUT_MS = 10_000
const RUN_ENTRIES = ['agent.sock', outageFileName]

/**
 * May be repeated, and goes on where an earlier one was cut short. Says what it removed.
 * @throws UninstallError; LockError while an agent runs on this state folder
 */
export async function uninstall(
  options: UninstallOptions,
  kernel: UninstallKernel = {},
): Promise<string[]> {
  if (process.geteuid?.() !== 0) {
    throw new UninstallError('not-root', 'uninstall needs root: it removes devices and rules')
  }
  const lock = await lockState(options.stateDir)
  using netlink = RouteNetlink.open({ netns: kernel.netns })
  try {
    return await removeAll(options, netlink, kernel.nft ?? createNft())
  } finally {
    await lock?.release()
  }
}

/**
 * What can be forced while an agent runs: it takes no new pods, and the files that make the runtime call it go with the last
 * attachment. Undefined when no agent answers. @throws ClientError
 */
export async function leave({
  runDir,
}: Pick<UninstallOptions, 'runDir'>): Promise<{ attachments: number } | undefined> {
  try {
    const answer = await post(LEAVE_PATH, { socket: socketPath(runDir) })
    const isCount = typeof answer === 'object' && answer !== null && 'attachments' in answer
    return { attachments: isCount ? Number(answer.attachments) : 0 }
  } catch (error) {
    if (codeOf(error) === 'unreachable') return undefined
    throw error
  }
}

async function removeAll(
  options: UninstallOptions,
  netlink: RouteNetlink,
  nft: Nft,
): Promise<string[]> {
  const { stateDir, runDir, bpfDir, cniConfDir, cniBinDir } = options
  const links = await netlink.links.list()
  const ours = links.filter((link) => link.alias?.startsWith(ALIAS_PREFIX))
  const attachments = await findAttachments(ours, stateDir)
  if (attachments.length > 0 && !options.isForced) throw stillAttached(attachments)

  // The conflist first: from then on no runtime asks for a network that is being taken away.
  const removed = await uninstallFiles({ confDir: cniConfDir, binDir: cniBinDir })
  for (const link of ours) {
    if (await netlink.links.del(link.index)) removed.push(`device ${link.name}`)
  }
  for (const { name, index } of links.filter((link) => !ours.includes(link))) {
    if (await removeFilters(netlink, index)) removed.push(`filter on ${name}`)
  }
  for (const { dst, index, metric } of await netlink.routes.list({ protocol: ROUTE_PROTOCOL })) {
    if (await netlink.routes.del({ dst, index, metric, protocol: ROUTE_PROTOCOL })) {
      removed.push(`route ${dst}`)
    }
  }
  for (const table of [NFT_TABLE, NFT_SERVICES_TABLE, NFT_SCTP_TABLE, NFT_NAT_TABLE]) {
    if (await removeRules(table, nft, AbortSignal.timeout(NFT_TIMEOUT_MS))) {
      removed.push(`nftables table inet ${table}`)
    }
  }
  const layouts = await layoutFolders(bpfDir)
  for (const folder of layouts) {
    if (await detachSockets(join(folder, 'cgroup'))) removed.push('programs on sockets')
  }
  for (const path of [...RUN_ENTRIES.map((n) => join(runDir, n)), ...layouts]) {
    if (await removePath(path)) removed.push(path)
  }
  for (const name of STATE_ENTRIES) {
    if (await removePath(join(stateDir, name))) removed.push(join(stateDir, name))
  }
  for (const folder of [bpfDir, runDir, stateDir]) await removeIfEmpty(folder)
  return removed
}

function stillAttached(attachments: readonly string[]): UninstallError {
  const message =
    `${attachments.length} attachments are left: ${attachments.join(', ')}. ` +
    'Delete these pods first (drain the node), or take their network away with --force'
  return new UninstallError('attachments', message)
}

/** Of an uplink, where they hang on clsact; tcx links go with their pins. The qdisc stays: others may use it. */
async function removeFilters(netlink: RouteNetlink, index: number): Promise<boolean> {
  const mark = { priority: TC_PRIORITY, handle: TC_HANDLE }
  const wasThere = await netlink.filters.del({ index, parent: 'ingress', ...mark })
  return (await netlink.filters.del({ index, parent: 'egress', ...mark })) || wasThere
}

/** At once: of a pin that goes the kernel takes off the program some time later. */
function detachSockets(linksDir: string): Promise<boolean> {
  return new CgroupHooks({ linksDir }).detach()
}

/** Devices of pods, and allocations whose device is gone but whose removal nobody asked for: the runtime will yet. */
async function findAttachments(ours: readonly Link[], stateDir: string): Promise<string[]> {
  const devices = ours
    .filter(({ alias }) => alias !== OVERLAY_ALIAS && parseAlias(alias) !== undefined)
    .map(({ name, alias }) => `${name} (${alias?.slice(ALIAS_PREFIX.length)})`)
  const records = await list(join(stateDir, 'allocations'))
  const removed = await queuedRemovals(join(stateDir, queueDirName))
  const orphans = records
    .filter((file) => !file.startsWith('.'))
    .filter((file) => !ours.some(({ name }) => file.includes(name.slice(2))))
    .filter((file) => !removed.has(parseRecordName(file)?.digest ?? ''))
    .map((file) => `allocation ${file}`)
  return [...devices, ...orphans]
}

/** Digests of attachments that were removed while there was no agent. What cannot be read says nothing. */
async function queuedRemovals(folder: string): Promise<Set<string>> {
  const digests = new Set<string>()
  for (const file of await list(folder)) {
    try {
      const entry = JSON.parse(await readFile(join(folder, file), 'utf8')) as Partial<QueueEntry>
      if (entry.verb !== 'DEL') continue
      const { containerId, ifname, config } = decodeRequest(entry.request)
      digests.add(keyDigest({ network: config.name, containerId, ifname }))
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof CniError)) throw error
    }
  }
  return digests
}

/** Folders of any layout version. */
async function layoutFolders(bpfDir: string): Promise<string[]> {
  return (await list(bpfDir)).filter((name) => /^v[0-9]+$/.test(name)).map((n) => join(bpfDir, n))
}

async function lockState(stateDir: string): Promise<Lock | undefined> {
  try {
    return await lockDirectory(stateDir)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function list(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

async function removePath(path: string): Promise<boolean> {
  try {
    await rm(path, { recursive: true })
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** What others keep something in, or something is mounted on, stays: in a container, a folder of the node is a mount. */
async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder)
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY', 'EROFS'].includes(String(codeOf(error)))) throw error
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
