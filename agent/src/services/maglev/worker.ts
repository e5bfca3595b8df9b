// The thread that makes tables and puts them into sb_maglev: both take milliseconds that the event loop has no time for.
import { parentPort, threadId } from 'node:worker_threads'
import { BpfMap, u32 } from '@sinabro/libbpf-ts'
import { maglevRows, maglevSpec } from '@sinabro/libbpf-ts/maglev'
import { buildTable } from './table.ts'
import type { Built, Done, Order } from './thread.ts'

parentPort?.on('message', (order: Order) => {
  parentPort?.postMessage(carryOut(order))
})

function carryOut(order: Order): Done {
  const { number } = order
  try {
    return { number, result: order.backends === undefined ? remove(order) : replace(order) }
  } catch (error) {
    const { code = 'unknown', message } = error as Error & { code?: string }
    return { number, error: { code, message } }
  }
}

/** Packets meet the table before or this one: it is in the map with one write, and whole. */
function replace({ mapFd, service, backends = [] }: Order): Built {
  const startedAtMs = performance.now()
  const indexes = buildTable(backends)
  const entries = indexes.map((index) => backends[index]?.id ?? 0)
  const buildMs = performance.now() - startedAtMs
  using table = BpfMap.create({ ...maglevSpec(entries.length), name: 'sb_maglev_table' })
  table.updateMany(maglevRows(entries))
  using tables = BpfMap.copyOf(mapFd)
  tables.update(u32.encode(service), u32.encode(table.fd))
  return { mapId: table.info.id, entries: entries.length, buildMs, threadId }
}

function remove({ mapFd, service }: Order): Built {
  using tables = BpfMap.copyOf(mapFd)
  tables.delete(u32.encode(service))
  return { mapId: 0, entries: 0, buildMs: 0, threadId }
}
