// For kernel tests of the writer: the service maps alone, what they say in words that no id is in, and rows to write.
import { addr, BpfMap, TypedMap, u32 } from '@sinabro/libbpf-ts'
import {
  backend,
  SLOT_MEMBER,
  service,
  serviceKey,
  slot,
  slotKey,
  sourceRangeKey,
} from '@sinabro/libbpf-ts/layouts'
import { nameOf } from '../compute.ts'
import type { ServiceMaps } from '../mirror.ts'
import type { Backend, Frontend, ServicePort, ServiceRows } from '../rows.ts'
import { formatRange } from '../source-ranges.ts'

/** linux/bpf.h */
const BPF_F_NO_PREALLOC = 1

export interface TestMaps extends ServiceMaps {
  close(): void
}

export function createMaps(
  max: number = 4096,
  sizes: Readonly<Record<string, number>> = {},
): TestMaps {
  const opened: BpfMap[] = []
  const make = (name: string, keySize: number, valueSize: number, type = 'hash'): BpfMap => {
    const map = BpfMap.create({
      ...{
        type,
        keySize,
        valueSize,
        maxEntries: sizes[name] ?? max,
        name,
        flags: BPF_F_NO_PREALLOC,
      },
    } as Parameters<typeof BpfMap.create>[0])
    opened.push(map)
    return map
  }
  return {
    services: new TypedMap(make('sb_services', serviceKey.size, service.size), serviceKey, service),
    slots: new TypedMap(make('sb_slots', slotKey.size, slot.size), slotKey, slot),
    backends: new TypedMap(make('sb_backends', u32.size, backend.size), u32, backend),
    sourceRanges: new TypedMap(
      make('sb_src_ranges', sourceRangeKey.size, u32.size, 'lpm_trie'),
      sourceRangeKey,
      u32,
    ),
    close() {
      for (const map of opened) map.close()
    },
  }
}

export interface Said {
  /** By address, port and protocol. */
  readonly headers: Record<string, unknown>
  readonly rows: Record<'headers' | 'slots' | 'backends' | 'ranges', number>
}

/** What a packet would find; throws where it would find a gap. */
export function readAll(maps: ServiceMaps): Said {
  const backends = new Map(maps.backends.entries())
  const slots = new Map<string, number>()
  for (const [{ list, slot: at }, { backend: id }] of maps.slots.entries()) {
    slots.set(`${list} ${at}`, id)
  }
  const ranges = [...maps.sourceRanges.keys()]
  const backendsOf = (list: number): string[] => {
    const size = slots.get(`${list} 0`) ?? 0
    return Array.from({ length: size }, (_, i) => {
      const id = slots.get(`${list} ${i + 1}`)
      const found = id === undefined ? undefined : backends.get(id)
      if (found === undefined) throw new Error(`list ${list}: nothing behind slot ${i + 1}`)
      const member = slots.get(`${list} ${SLOT_MEMBER + (id ?? 0)}`)
      const { addr: address, port, proto, flags } = found
      return `${address} ${port} ${proto} ${flags}${wordOf(member, i + 1)}`
    }).sort()
  }
  const headers: Record<string, unknown> = {}
  for (const [key, { id, flags, internal, external, affinitySec }] of maps.services.entries()) {
    headers[nameOf(key)] = {
      ...{ flags, affinitySec, internal: backendsOf(internal), external: backendsOf(external) },
      ranges: ranges
        .filter((one) => one.service === id && id !== 0)
        .map(formatRange)
        .sort(),
    }
  }
  const rows = {
    headers: Object.keys(headers).length,
    slots: slots.size,
    backends: backends.size,
    ranges: ranges.length,
  }
  return { headers: Object.fromEntries(Object.entries(headers).sort()), rows }
}

function wordOf(member: number | undefined, slot: number): string {
  if (member === undefined) return ''
  return member === slot ? ' member' : ' member of another slot'
}

export function backendAt(n: number, change: Partial<Backend> = {}): Backend {
  const address = addr.decode(Uint8Array.of(...MAPPED, 10, 244, n >> 8, n & 255))
  return { address, port: 8080, isTerminating: false, isOnThisNode: true, ...change }
}

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]

export function serviceAt(
  n: number,
  internal: readonly Backend[],
  change: Partial<ServicePort> = {},
  more: readonly Frontend[] = [],
): ServiceRows {
  const address = `10.96.${n >> 8}.${n & 255}`
  const key = `shop/s${n}`
  const port: ServicePort = {
    ...{ key: `${key}:http/TCP/4`, portName: 'http', protocol: 'TCP', family: 4 },
    frontends: [{ kind: 'ClusterIP', address, port: 80 }, ...more],
    ...{ internal, external: internal, isInternalLocal: false, isExternalLocal: false },
    ...change,
  }
  return { key, addresses: [address], ports: [port] }
}
