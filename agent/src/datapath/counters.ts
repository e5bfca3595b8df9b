// What became of packets, summed over the CPUs: one row per place and outcome that happened.
import {
  isDrop,
  OUTCOMES,
  OUTCOMES_MAX,
  type Outcome,
  PLACES,
  type Place,
} from '@sinabro/libbpf-ts/drop-reasons'
import type { DatapathMaps } from './maps.ts'

export interface CounterRow {
  readonly place: Place
  readonly outcome: Outcome
  readonly isDrop: boolean
  readonly packets: bigint
  readonly bytes: bigint
}

export function readCounters(maps: Pick<DatapathMaps, 'counters'>): CounterRow[] {
  const rows: CounterRow[] = []
  for (const [index, perCpu] of maps.counters.entries()) {
    const place = PLACES[Math.floor(index / OUTCOMES_MAX)]
    const outcome = OUTCOMES.find(({ number }) => number === index % OUTCOMES_MAX)
    if (place === undefined || outcome === undefined) continue
    let packets = 0n
    let bytes = 0n
    for (const one of perCpu) {
      packets += one.packets
      bytes += one.bytes
    }
    if (packets > 0n) rows.push({ place, outcome, isDrop: isDrop(outcome), packets, bytes })
  }
  return rows
}
