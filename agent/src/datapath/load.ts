// Loads the eBPF objects onto the maps that are pinned, or makes and pins them; says what to do when they do not fit.
import { lstatSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import {
  BpfError,
  type BpfMap,
  BpfObject,
  type BpfProgram,
  objectPath,
  unpin,
} from '@sinabro/libbpf-ts'
import { LAYOUT_VERSION, MAP_NAMES } from '@sinabro/libbpf-ts/layouts'
import { SOCKET_HOOKS, type SocketPrograms } from './cgroup-hooks.ts'
import { DatapathError } from './error.ts'
import { pinnedSize, settleServiceMaps } from './service-maps.ts'
import { removeUnknownPins } from './unknown-pins.ts'

/** `BPF_FS_MAGIC` of include/uapi/linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11
/** chmod(2): S_IWGRP and S_IWOTH; S_ISVTX, with which only the owner of an entry may rename or remove it. */
const WRITABLE_BY_OTHERS = 0o022
const STICKY = 0o1000

/** Where everything is pinned; the layout version is part of the path, so that two layouts never meet. */
export function pinPaths(bpfDir: string, layout = LAYOUT_VERSION) {
  const root = join(bpfDir, `v${layout}`)
  return {
    root,
    maps: join(root, 'maps'),
    /** On devices of our own, by name. */
    links: join(root, 'links'),
    /** On devices of the node. */
    uplinks: join(root, 'uplinks'),
    /** On devices of the node, before the stack. */
    xdp: join(root, 'xdp'),
    /** On the node's sockets, by hook. */
    cgroup: join(root, 'cgroup'),
  }
}

export interface LoadedObjects {
  readonly fromPod: BpfProgram
  readonly toPod: BpfProgram
  readonly fromOverlay: BpfProgram
  readonly toOverlay: BpfProgram
  readonly fromUplink: BpfProgram
  readonly toUplink: BpfProgram
  /** For devices whose packets have no Ethernet header. */
  readonly fromUplinkL3: BpfProgram
  readonly toUplinkL3: BpfProgram
  /** Where it is asked for. */
  readonly xdpUplink: BpfProgram | undefined
  readonly sweep: BpfProgram
  /** Where services are ours to serve, and sockets can be asked. */
  readonly sockets: SocketPrograms | undefined
  readonly staleSockets: BpfProgram | undefined
  map(name: string): BpfMap
  close(): void
}

export interface LoadOptions {
  readonly bpfDir: string
  /** Rows of the flow table, for the first start; a pinned table keeps the size it has. Default: what the object says. */
  readonly flowsMax?: number
  /** Rows of sb_services; absent: nobody's are served, and its maps take no room. */
  readonly servicesMax?: number | undefined
  /** Without: services are served packet by packet alone. */
  readonly hasSockets: boolean
  /** Something is to hang on uplinks before the stack. */
  readonly hasXdp?: boolean
}

export async function loadObjects({
  bpfDir,
  flowsMax,
  servicesMax,
  hasSockets,
  hasXdp = false,
}: LoadOptions): Promise<LoadedObjects> {
  requireBpfFs(bpfDir)
  const { root, maps: pinDir, links, uplinks, xdp, cgroup } = pinPaths(bpfDir)
  for (const folder of [bpfDir, root, pinDir, links, uplinks, xdp, cgroup]) requireOwn(folder)
  // Changing the size of a live table would mean leaving its connections behind.
  const flows = pinnedSize(join(pinDir, MAP_NAMES.flows)) ?? flowsMax
  const services = settleServiceMaps(pinDir, servicesMax)
  const maxEntries = (map: string): number | undefined =>
    map === MAP_NAMES.flows ? flows : services.get(map)
  // Their rows lie with the sockets, which nothing translates any more.
  if (servicesMax === undefined) {
    for (const map of [MAP_NAMES.sockets, MAP_NAMES.furtherPeers]) unpin(join(pinDir, map))
  }
  const opened: BpfObject[] = []
  const load = async (name: Parameters<typeof objectPath>[0]) => {
    const object = BpfObject.open(objectPath(name), { pinDir, maxEntries })
    opened.push(object)
    await object.load()
    return object
  }
  try {
    const fromPod = await load('from_pod')
    const toPod = await load('to_pod')
    const fromOverlay = await load('from_overlay')
    const toOverlay = await load('to_overlay')
    const fromUplink = await load('from_uplink')
    const toUplink = await load('to_uplink')
    const fromUplinkL3 = await load('from_uplink_l3')
    const toUplinkL3 = await load('to_uplink_l3')
    const xdpUplink = hasXdp ? await load('xdp_uplink') : undefined
    const sweep = await load('sweep')
    const isServing = servicesMax !== undefined && hasSockets
    const sockets = isServing ? socketPrograms(await load('sockets')) : undefined
    const stale = isServing ? await load('stale_sockets') : undefined
    removeUnknownPins(pinDir, opened)
    return {
      fromPod: fromPod.program('sb_from_pod'),
      toPod: toPod.program('sb_to_pod'),
      fromOverlay: fromOverlay.program('sb_from_overlay'),
      toOverlay: toOverlay.program('sb_to_overlay'),
      fromUplink: fromUplink.program('sb_from_uplink'),
      toUplink: toUplink.program('sb_to_uplink'),
      fromUplinkL3: fromUplinkL3.program('sb_from_uplink_l3'),
      toUplinkL3: toUplinkL3.program('sb_to_uplink_l3'),
      xdpUplink: xdpUplink?.program('sb_xdp_uplink'),
      sweep: sweep.program('sb_sweep'),
      sockets,
      staleSockets: stale?.program('sb_stale'),
      map(name) {
        for (const object of opened) {
          const map = object.maps.find(({ info }) => info.name === name)
          if (map !== undefined) return map
        }
        throw new Error(`no eBPF object has a map ${name}`)
      },
      close() {
        for (const object of opened) object.close()
      },
    }
  } catch (error) {
    for (const object of opened) object.close()
    throw explain(error, pinDir)
  }
}

function socketPrograms(object: BpfObject): SocketPrograms {
  const programs = SOCKET_HOOKS.map((hook) => [hook, object.program(`sb_${hook}`)])
  return Object.fromEntries(programs)
}

function requireBpfFs(bpfDir: string): void {
  // The folder itself is made by the first pin; what holds it must be there.
  for (let folder = bpfDir; ; folder = join(folder, '..')) {
    try {
      if (statfsSync(folder).type === BPF_FS_MAGIC) return
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') continue
      throw error
    }
    throw new DatapathError(
      'no-bpffs',
      `${bpfDir} is not on a bpf file system: mount -t bpf bpf /sys/fs/bpf`,
    )
  }
}

/**
 * A bpf file system mounted without a mode lets everybody make folders in it. Whoever owns one of ours could put maps of his own
 * in the place of those that say which pod has which address.
 */
export function requireOwn(folder: string): void {
  const stats = lstatSync(folder, { throwIfNoEntry: false })
  if (stats === undefined) return
  const isOpen = (stats.mode & WRITABLE_BY_OTHERS) !== 0 && (stats.mode & STICKY) === 0
  if (stats.isDirectory() && stats.uid === process.geteuid?.() && !isOpen) return
  throw new DatapathError(
    'foreign-pins',
    `${folder} is not a folder that this user alone may change; see who made it, remove it, and start again`,
  )
}

function explain(error: unknown, pinDir: string): unknown {
  if (!(error instanceof BpfError)) return error
  if (error.code === 'layout') {
    const advice =
      'this version of sinabro cannot take over the running maps. Either start the version that made them, or drain the ' +
      `node, stop the agent and remove the folder ${join(pinDir, '..')}: pods then have no network until the agent runs again`
    return new DatapathError('layout', `${error.message}. ${advice}`, { cause: error })
  }
  if (error.code === 'verifier') {
    const last = error.verifierLog?.trimEnd().split('\n').slice(-3).join(' | ')
    return new DatapathError('verifier', `${error.message}: ${last ?? 'no log'}`, { cause: error })
  }
  return error
}
