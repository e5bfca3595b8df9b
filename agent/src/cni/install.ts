// Puts the executable and the conflist where the runtime looks, each whole or not at all, and takes them away again.
import { constants } from 'node:fs'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CNI_PLUGIN, CONFLIST_FILE, NETWORK_NAME } from '../marks.ts'

export interface ConflistOptions {
  readonly socket: string
  readonly stateDir: string
}

/** What the runtime reads. Every member has a meaning for the executable: see cni/src/wire.ts, NetworkConfig. */
export function formatConflist({ socket, stateDir }: ConflistOptions): string {
  const conflist = {
    cniVersion: '1.0.0',
    // For runtimes that can choose: with 1.1.0 they ask STATUS and send GC.
    cniVersions: ['0.4.0', '1.0.0', '1.1.0'],
    name: NETWORK_NAME,
    plugins: [{ type: CNI_PLUGIN, socket, stateDir, capabilities: { ips: true, mac: true } }],
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

/** The last step of getting ready: from then on the runtime takes the node's network for usable. */
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

interface WholeFile {
  readonly folder: string
  readonly name: string
  readonly bytes: Buffer
  readonly mode: number
}

/**
 * Written beside its place under a name that runtimes skip, then renamed. Never from another directory: containerd watches this
 * one, and a rename into it from outside is not the event it waits for.
 */
async function writeWhole({ folder, name, bytes, mode }: WholeFile): Promise<boolean> {
  const path = join(folder, name)
  if ((await contentOf(path))?.equals(bytes)) return false
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const temporary = join(folder, `.${name}.new`)
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants
  const file = await open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode)
  try {
    await file.writeFile(bytes)
    await file.chmod(mode)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const directory = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
  return true
}

async function contentOf(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
