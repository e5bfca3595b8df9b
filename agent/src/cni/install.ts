// Puts the executable and the conflist where the runtime looks, each whole or not at all, and takes them away again.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CNI_PLUGIN, CONFLIST_FILE, NETWORK_NAME } from '../marks.ts'
import { contentOf, writeWhole } from '../runtime/whole-file.ts'
import { OFFERED_VERSIONS, PORTMAP } from './neighbours.ts'

export interface ConflistOptions {
  readonly socket: string
  readonly stateDir: string
  /** Of the versions offered those that the portmap of the node speaks; absent: it is not chained, as where host ports are ours. */
  readonly portmapVersions?: readonly string[] | undefined
}

/** The newest that a runtime which cannot choose is sure to know. */
const NEWEST_UNASKED = '1.0.0'

/** What the runtime reads. Every member has a meaning for the executable: see cni/src/wire.ts, NetworkConfig. */
export function formatConflist({ socket, stateDir, portmapVersions }: ConflistOptions): string {
  const own = {
    type: CNI_PLUGIN,
    socket,
    stateDir,
    // Host ports are kept with the allocation even where portmap serves them: whose work they are may change under running pods.
    capabilities: { ips: true, mac: true, bandwidth: true, portMappings: true },
  }
  const portmap = { type: PORTMAP, capabilities: { portMappings: true } }
  const cniVersions = portmapVersions ?? OFFERED_VERSIONS
  const conflist = {
    // For runtimes that do not read the next line.
    cniVersion: cniVersions.findLast((version) => version <= NEWEST_UNASKED) ?? cniVersions[0],
    cniVersions,
    name: NETWORK_NAME,
    plugins: portmapVersions === undefined ? [own] : [own, portmap],
  }
  return `${JSON.stringify(conflist, null, 2)}\n`
}

export interface InstallOptions extends ConflistOptions {
  readonly confDir: string
  readonly binDir: string
  /** The built executable that comes with this agent. */
  readonly executable: string
}

/** Says whether it wrote; an equal file is left alone, so that a restart wakes no runtime. */
export async function installExecutable(options: InstallOptions): Promise<boolean> {
  const bytes = await readFile(options.executable)
  return await writeWhole({ folder: options.binDir, name: CNI_PLUGIN, bytes, mode: 0o755 })
}

/**
 * The last step of getting ready: from then on the runtime takes the node's network for usable.
 * Never by renaming from another directory: containerd watches this one, and a rename into it from outside is not the event it
 * waits for.
 */
export async function installConflist(options: InstallOptions): Promise<boolean> {
  const bytes = Buffer.from(formatConflist(options))
  return await writeWhole({ folder: options.confDir, name: CONFLIST_FILE, bytes, mode: 0o644 })
}

/** Returns the paths that were there and are gone now. */
export async function uninstallFiles(
  options: Pick<InstallOptions, 'confDir' | 'binDir'>,
): Promise<string[]> {
  const removed: string[] = []
  // The conflist first: without it no runtime calls the executable.
  for (const path of [join(options.confDir, CONFLIST_FILE), join(options.binDir, CNI_PLUGIN)]) {
    if ((await contentOf(path)) === undefined) continue
    await rm(path, { force: true })
    removed.push(path)
  }
  return removed
}
