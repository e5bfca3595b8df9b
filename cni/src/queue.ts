// The durable queue: a removal that finds no agent becomes a file that the agent takes up later (format and rules in wire.ts, ADR 0021).
import { ensureDirectory, replaceFile } from './durable.ts'
import type { NativeHost } from './host.ts'
import { type QueueEntry, queueDirName, queueFileName } from './wire.ts'

/** Returns once the entry survives a power cut. @throws SystemError; then the entry is not to be relied on. */
export function enqueue(host: NativeHost, stateDir: string, entry: QueueEntry): void {
  const folder = `${stateDir}/${queueDirName}`
  ensureDirectory(host, folder)
  const name = queueFileName(entry.request.sequence, host.pid())
  replaceFile(host, folder, name, `${JSON.stringify(entry)}\n`)
}
