// Cost of each program in ns above an empty one: what npm run bench prints and a test checks for sense.

import { flowKey, opened } from '../src/layouts.ts'
import { u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { encodeSkBuff, type MapShape, type Rows, TestNode, testObject } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { base, flowRow, keyOf, type Shapes, shapes } from './world.ts'

export interface Cost {
  /** What the packet, or the process, does on this node. */
  readonly path: string
  readonly family: 4 | 6
  readonly program: string
  /** The real function alone, above an empty program. */
  readonly ns: number
  /** The empty program itself. */
  readonly emptyNs: number
  /** Yardstick of this machine at this moment: one hash hit with a flow's key, above an empty program. */
  readonly lookupNs?: number
}

/** A packet, and a program that it meets. */
export interface Case {
  readonly path: string
  readonly family: 4 | 6
  readonly object: string
  readonly before: Uint8Array
  readonly after: Uint8Array
  readonly verdict: number
  readonly mark?: number
  /** What differs from the world's rows, map by map. */
  readonly rows?: Rows<Shapes>
  /** The same where there are uplinks and routes. */
  readonly outside?: (outside: Outside) => Rows<Shapes>
  /** Where the source port is: each run has another one, and so begins a flow. */
  readonly firstAt?: number
}

/** Verdicts of tcx. */
export const NEXT = -1
export const REDIRECT = 7
/** Of cases that begin flows: from here on, by bench.h. */
export const FIRST_PORT = 32_768

/** BENCH_BYTES and BENCH_WRONG of bench.h. */
const BENCH_BYTES = 64
const BENCH_WRONG = 100
/** Restoring takes one half of BENCH_PORTS, and the real thing the other. */
const FIRST_RUNS = 16_384
/** Twice what their flows take: nobody is held to a share. */
const FIRST_ROWS = 131_072

const yardstick = keyOf({
  source: '192.0.2.8',
  target: '192.0.2.9',
  proto: 17,
  sport: 40_000,
  dport: 53,
})

/** Loads a program per case, so that constants are constants; nothing is left behind. */
export async function measureCosts(cases: readonly Case[], repeat: number): Promise<Cost[]> {
  const costs: Cost[] = []
  for (const one of cases) costs.push(await measure(one, repeat))
  return costs
}

async function measure(one: Case, wanted: number): Promise<Cost> {
  const { path, family, object, firstAt = 0 } = one
  const repeat = firstAt === 0 ? wanted : Math.min(wanted, FIRST_RUNS)
  // Routes are asked once a tick, in the middle of a measurement.
  using outside = one.outside === undefined ? undefined : await Outside.open()
  using node = await TestNode.load({
    objects: [testObject(`bench_${object}`)],
    maps: {},
    maxEntries: (map) => (map === 'sb_flows' && firstAt > 0 ? FIRST_ROWS : MAX_ENTRIES[map]),
    netns: outside?.netns,
    rodata: {
      bench_before: one.before.slice(0, BENCH_BYTES),
      bench_after: one.after.slice(0, BENCH_BYTES),
      bench_key: flowKey.encode(yardstick),
      bench_mark: new Uint8Array(Uint32Array.of(one.mark ?? 0).buffer),
      bench_verdict: new Uint8Array(Int32Array.of(one.verdict).buffer),
      bench_port_at: new Uint8Array(Uint32Array.of(firstAt).buffer),
    },
  })
  put(node, base)
  put(node, { sb_flows: [[yardstick, flowRow({ kind: 'stack' })]] })
  put(node, one.rows ?? {})
  if (outside !== undefined) put(node, one.outside?.(outside) ?? {})
  const packet = { data: one.before, ctx: encodeSkBuff({}), netns: outside?.netns }
  const ns = (program: string, expected?: number) => {
    const run = node.program(program).testRun({ ...packet, repeat })
    if (run.retval === BENCH_WRONG || (expected !== undefined && run.retval !== expected)) {
      const left = Buffer.from(run.data).toString('hex')
      throw new Error(`${path}: ${program} returned ${run.retval} and left ${left}`)
    }
    return run.durationNs
  }
  const emptyNs = ns('bench_empty', one.verdict)
  const lookupNs = ns('bench_lookup', one.verdict) - emptyNs
  const restoreNs = ns('bench_restore')
  const wholeNs = ns(`bench_${object}`, one.verdict)
  if (firstAt > 0) {
    const begun = new TypedMap(node.map('sb_opened'), u32, opened).get(0)?.flows
    if (begun !== repeat) throw new Error(`${path}: ${begun} flows begun, not ${repeat}`)
  }
  return { path, family, program: `sb_${object}`, ns: wholeNs - restoreNs, emptyNs, lookupNs }
}

/** Maps are made per case: small, where nothing large is measured. */
const MAX_ENTRIES: Readonly<Record<string, number>> = { sb_nodes: 16, sb_flows: 4096 }

/** Into those maps that the program has. */
export function put(node: TestNode<Record<never, never>>, rows: Rows<Shapes>): void {
  for (const [name, some] of Object.entries(rows)) {
    if (!node.hasMap(name)) continue
    const shape = shapes[name as keyof Shapes] as MapShape<unknown, unknown>
    const map = new TypedMap(node.map(name), shape.key, shape.value)
    for (const [key, value] of some ?? []) map.set(key, value)
  }
}
