// What explain says of a hashed service against the table that packets meet.
import { BpfMap, u32 } from '@sinabro/libbpf-ts'
import { SERVICE_AFFINITY, SERVICE_MAGLEV } from '@sinabro/libbpf-ts/layouts'
import { maglevHash, maglevRows, maglevSpec } from '@sinabro/libbpf-ts/maglev'
import { expect, test } from 'vitest'
import { hashedBackend } from './explain-hashed.ts'

const ENTRIES = 251
const client = { address: '198.51.100.7', servicePort: 80, proto: 6 }

test('a client’s backend is the one of its entry; without a port only where that does not count', () => {
  const spec = maglevSpec(ENTRIES)
  using table = BpfMap.create({ ...spec, name: 'table' })
  // Each entry another id.
  table.updateMany(maglevRows(Uint32Array.from({ length: ENTRIES }, (_, at) => 1000 + at)))
  using tables = BpfMap.create({
    ...{ type: 'hash_of_maps', keySize: 4, valueSize: 4, maxEntries: 2, name: 'tables' },
    inner: table,
  })
  const service = { id: 7, flags: SERVICE_MAGLEV, internal: 1, external: 1, affinitySec: 0 }
  const find = (port?: number, flags = SERVICE_MAGLEV) =>
    hashedBackend(
      tables,
      { ...service, flags },
      { ...client, ...(port === undefined ? {} : { port }) },
    )
  expect(find(40_000)).toBeUndefined()
  tables.update(u32.encode(7), u32.encode(table.fd))
  for (const port of [40_000, 40_001, 65_535]) {
    expect(find(port)).toBe(1000 + (maglevHash({ ...client, port }) % ENTRIES))
  }
  expect(find()).toBe('by port')
  const kept = 1000 + (maglevHash({ ...client, port: 0 }) % ENTRIES)
  expect(find(40_000, SERVICE_MAGLEV | SERVICE_AFFINITY)).toBe(kept)
  expect(find(undefined, SERVICE_MAGLEV | SERVICE_AFFINITY)).toBe(kept)
  expect(find(40_000, 0)).toBeUndefined()
})
