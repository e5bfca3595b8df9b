// Plug-ins of others that a node needs beside ours: put where there are none, never over one that is there, and asked which versions they speak.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Log } from '../runtime/log.ts'
import { contentOf, writeWhole } from '../runtime/whole-file.ts'

/** The runtime calls the first for every pod, by name; the second serves host ports where we do not. */
export const LOOPBACK = 'loopback'
export const PORTMAP = 'portmap'

/** Of the network we offer, for runtimes that can choose: with 1.1.0 they ask STATUS and send GC. */
export const OFFERED_VERSIONS = ['0.4.0', '1.0.0', '1.1.0']

const ANSWER_WITHIN_MS = 5_000
const exec = promisify(execFile)

/** From the folder that came with this agent, which may have none. Says which it put there. */
export async function installNeighbours(
  shippedIn: string,
  binDir: string,
  names: readonly string[] = [LOOPBACK, PORTMAP],
): Promise<string[]> {
  const installed: string[] = []
  for (const name of names) {
    if ((await contentOf(join(binDir, name))) !== undefined) continue
    const bytes = await contentOf(join(shippedIn, name))
    if (bytes === undefined) continue
    await writeWhole({ folder: binDir, name, bytes, mode: 0o755 })
    installed.push(name)
  }
  return installed
}

/**
 * Of the versions we offer those that the node's portmap speaks; undefined where there is none that runs. A runtime hands the version of the
 * network to every plug-in of the chain, and an older portmap refuses one that it does not know.
 */
export async function portmapVersions(binDir: string, log: Log): Promise<string[] | undefined> {
  const path = join(binDir, PORTMAP)
  if ((await contentOf(path)) === undefined) return undefined
  try {
    const asked = exec(path, { env: { CNI_COMMAND: 'VERSION' }, timeout: ANSWER_WITHIN_MS })
    asked.child.stdin?.on('error', () => undefined).end('{"cniVersion":"1.0.0"}')
    const { stdout } = await asked
    const spoken = supportedVersions(JSON.parse(stdout))
    const both = OFFERED_VERSIONS.filter((version) => spoken.includes(version))
    if (both.length === 0) throw new Error(`it speaks ${spoken.join(', ')} and none of ours`)
    return both
  } catch (error) {
    log.warn({ path, error }, 'portmap does not run, so it is not chained: pods get no host ports')
    return undefined
  }
}

/** @throws Error if it is no answer to VERSION */
export function supportedVersions(answer: unknown): string[] {
  const isObject = typeof answer === 'object' && answer !== null && 'supportedVersions' in answer
  const versions = isObject ? answer.supportedVersions : undefined
  if (!Array.isArray(versions)) throw new Error('its answer to VERSION has no supportedVersions')
  return versions.filter((version) => typeof version === 'string')
}
