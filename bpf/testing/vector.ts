// Vectors: maps and a packet in, one program, then verdict, target, packet and map changes out; chained they are a scenario.
import type { BpfMap } from '../src/map.ts'
import type { BpfProgram } from '../src/program.ts'
import type { Namespace } from '../src/tcx.ts'
import { describePacket } from './describe.ts'
import { diffPackets } from './diff.ts'
import { type Loaded, type LoadOptions, loadObjects } from './loaded.ts'
import { type Changes, type MapShapes, MapState, type Rows, type Snapshot } from './map-state.ts'
import { type Expected, mismatches } from './match.ts'
import {
  encodeSkBuff,
  type SkBuff,
  type SkBuffIn,
  skBuff,
  type Verdict,
  verdictName,
  verdicts,
} from './skb.ts'
import { encodeXdpMd, type XdpVerdict, xdpVerdicts } from './xdp.ts'

export interface TestNodeOptions<M extends MapShapes, R> extends LoadOptions {
  readonly maps: M
  /** Rows that are there at the start of every vector. */
  readonly base?: Rows<M>
  /** Maps of which a vector must name every change; of others only what it names is compared. */
  readonly watch?: readonly (keyof M & string)[]
  /** Whose routes and sockets programs see; default: this process's. */
  readonly netns?: Namespace | undefined
  /** Where a program notes the redirect that a test run does not carry out: read from its context. */
  readonly readRedirect?: (ctx: SkBuff) => R | undefined
}

export interface Expectation<M extends MapShapes, R> {
  readonly verdict: Verdict | XdpVerdict
  /** Absent: no redirect was noted. */
  readonly redirect?: Expected<R>
  /** Absent: as it came in. */
  readonly packetOut?: Uint8Array | 'any'
  readonly ctx?: Expected<SkBuff>
  readonly maps?: Changes<M>
}

export interface Step<M extends MapShapes, R> {
  readonly what: string
  readonly program: string
  /** Rows put before, besides those that are there. */
  readonly maps?: Rows<M>
  readonly packet: Uint8Array
  /** Of an XDP program: `ifindex` alone. */
  readonly ctx?: SkBuffIn
  /** As a device hands it on that sums whole packets: the sum must be right afterwards. Needs Linux 6.17. */
  readonly isSummed?: boolean
  readonly expect: Expectation<M, R>
}

/** A step that begins with nothing but the base rows. */
export type Vector<M extends MapShapes, R> = Step<M, R>

export interface StepResult<R> {
  readonly verdict: number
  readonly redirect: R | undefined
  readonly packet: Uint8Array
  readonly ctx: SkBuff
}

/** The programs and maps of one node, loaded into the kernel but attached to nothing. */
export class TestNode<M extends MapShapes, R = never> {
  readonly #options: TestNodeOptions<M, R>
  readonly #loaded: Loaded
  readonly #states = new Map<string, MapState>()

  private constructor(options: TestNodeOptions<M, R>, loaded: Loaded) {
    this.#options = options
    this.#loaded = loaded
    for (const [name, shape] of Object.entries(options.maps)) {
      this.#states.set(name, new MapState(this.map(name), shape))
    }
  }

  static async load<const M extends MapShapes, R = never>(
    options: TestNodeOptions<M, R>,
  ): Promise<TestNode<M, R>> {
    const loaded = await loadObjects(options)
    try {
      return new TestNode(options, loaded)
    } catch (error) {
      loaded.close()
      throw error
    }
  }

  program(name: string): BpfProgram {
    const found = this.#loaded.objects
      .flatMap(({ programs }) => programs)
      .find((p) => p.name === name)
    if (found === undefined) throw new TypeError(`none of the objects has a program ${name}`)
    return found
  }

  map(name: string): BpfMap {
    const found = this.#loaded.objects.flatMap(({ maps }) => maps).find((m) => m.info.name === name)
    if (found === undefined) throw new TypeError(`none of the objects has a map ${name}`)
    return found
  }

  hasMap(name: string): boolean {
    return this.#loaded.objects.some(({ maps }) => maps.some((map) => map.info.name === name))
  }

  /** Every map back to the base rows. */
  reset(): void {
    for (const state of this.#states.values()) state.clear()
    this.put(this.#options.base ?? {})
  }

  put(rows: Rows<M>): void {
    for (const [name, some] of Object.entries(rows)) this.#state(name).put(some ?? [])
  }

  /**
   * Runs one vector from the base rows.
   * @throws Error with everything that is not as expected
   */
  check(vector: Vector<M, R>): StepResult<R> {
    this.reset()
    return this.step(vector)
  }

  /** The same on whatever is in the maps by now. */
  step(step: Step<M, R>): StepResult<R> {
    this.put(step.maps ?? {})
    const before = this.#snapshots(step.expect.maps)
    const program = this.program(step.program)
    const isXdp = program.type === 'xdp'
    const out = program.testRun({
      data: step.packet,
      ctx: isXdp
        ? encodeXdpMd(step.packet.length, step.ctx?.ifindex)
        : encodeSkBuff(step.ctx ?? {}),
      netns: this.#options.netns,
      isSummed: step.isSummed ?? false,
    })
    const ctx = skBuff.decode(isXdp ? encodeSkBuff({}) : out.ctx)
    const redirect = this.#options.readRedirect?.(ctx)
    const result: StepResult<R> = { verdict: out.retval, redirect, packet: out.data, ctx }
    const problems = [
      ...judge(step, result, isXdp ? xdpVerdicts : verdicts),
      ...Array.from(before).flatMap(([name, snapshot]) =>
        this.#state(name).compare(snapshot, step.expect.maps?.[name] ?? {}),
      ),
    ]
    if (problems.length > 0) {
      const packet = describePacket(step.packet).join('\n    ')
      throw new Error(
        `${step.what}\n  packet in, to ${step.program}:\n    ${packet}\n  ${problems.join('\n  ')}`,
      )
    }
    return result
  }

  close(): void {
    this.#loaded.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #state(name: string): MapState {
    const state = this.#states.get(name)
    if (state === undefined) throw new TypeError(`the test says nothing of a map ${name}`)
    return state
  }

  #snapshots(changes: Changes<M> | undefined): Map<string, Snapshot> {
    const names = new Set([...(this.#options.watch ?? []), ...Object.keys(changes ?? {})])
    return new Map(Array.from(names, (name) => [name, this.#state(name).snapshot()]))
  }
}

function judge<M extends MapShapes, R>(
  step: Step<M, R>,
  result: StepResult<R>,
  verdicts: Readonly<Record<string, number>>,
): string[] {
  const { expect, packet } = step
  const problems: string[] = []
  const verdict = verdictName(result.verdict, verdicts)
  if (verdict !== expect.verdict) problems.push(`verdict: ${verdict}, expected ${expect.verdict}`)
  if (expect.redirect !== undefined || result.redirect !== undefined) {
    problems.push(...mismatches(result.redirect, expect.redirect, 'redirect'))
  }
  if (expect.ctx !== undefined) problems.push(...mismatches(result.ctx, expect.ctx, 'ctx'))
  if (expect.packetOut !== 'any') {
    const difference = diffPackets(result.packet, expect.packetOut ?? packet)
    if (difference !== undefined) problems.push(difference.replaceAll('\n', '\n  '))
  }
  return problems
}

/** One hop of a packet's life: on a node, with what the hop before let out, or what the wire makes of that. */
export interface Hop<M extends MapShapes, R> extends Omit<Step<M, R>, 'packet'> {
  readonly at: TestNode<M, R>
  /** Absent: the packet as the hop before left it. */
  readonly packet?: Uint8Array | ((before: Uint8Array) => Uint8Array)
}

/** Runs hops in order, each on the maps the earlier ones left; nodes start from their base rows. */
export function runScenario<M extends MapShapes, R>(
  what: string,
  hops: readonly Hop<M, R>[],
): Uint8Array {
  for (const node of new Set(hops.map(({ at }) => at))) node.reset()
  let packet: Uint8Array = new Uint8Array()
  for (const [i, hop] of hops.entries()) {
    const { packet: given, at, ...rest } = hop
    if (typeof given === 'function') packet = given(packet)
    else if (given !== undefined) packet = given
    else if (i === 0) throw new TypeError(`${what}: the first hop needs a packet`)
    packet = at.step({ ...rest, what: `${what}, ${i + 1}: ${hop.what}`, packet }).packet
  }
  return packet
}
