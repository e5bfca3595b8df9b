// Since when the agent has not answered STATUS: a small file beside the socket, so that one call knows of the calls before it (ADR 0022).
import { isObject } from './config.ts'
import { ensureDirectory, parentOf, replaceFile } from './durable.ts'
import { checked, isSystemError, type NativeHost } from './host.ts'
import { outageFileName, type Sequence } from './wire.ts'

/**
 * How long the agent has been away as of `now`; the first call of an outage starts the count. 0 as long as nothing can be
 * remembered: a node is not taken down on a guess.
 */
export function outageSec(host: NativeHost, socket: string, now: Sequence): number {
  const folder = parentOf(socket)
  const { bootId, bootTimeUs } = readOutage(host, `${folder}/${outageFileName}`)
  // Of another boot, or of a clock that cannot be: not this outage.
  if (bootId === now.bootId && typeof bootTimeUs === 'number' && bootTimeUs <= now.bootTimeUs)
    return (now.bootTimeUs - bootTimeUs) / 1e6
  try {
    ensureDirectory(host, folder)
    replaceFile(host, folder, outageFileName, JSON.stringify(now))
  } catch (error) {
    if (!isSystemError(error)) throw error
  }
  return 0
}

/** The agent answered, whatever it said. */
export function endOutage(host: NativeHost, socket: string): void {
  host.unlink(`${parentOf(socket)}/${outageFileName}`)
}

function readOutage(host: NativeHost, path: string): Readonly<Record<string, unknown>> {
  try {
    const text = host.decodeUtf8(checked(host.readFile(path, 256), 'read', path))
    const value: unknown = JSON.parse(text ?? '')
    return isObject(value) ? value : {}
  } catch {
    // Absent or unreadable: as if there had been no outage yet.
    return {}
  }
}
