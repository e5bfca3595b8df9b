// What a packet between pods costs: round trips, short connections and bytes per second of one CPU that both ends share, on one
// node beside pods of the ptp plug-in that the kernel routes, across two beside our own mode kernel, with and without kube-proxy's rules.
import { type Bench, type BenchContext, LAB_NAME } from './bench.ts'
import { compile } from './compile.ts'
import { CPU, ownStand, type PodStand, type Route, routedStand } from './pod-stands.ts'
import { PROXY_RULES_OF, proxyRules, sizeOfRules } from './proxy-rules.ts'
import { type BenchRow, compare, type Side } from './row.ts'

const MEASURE_MS = 500
export const kinds = {
  rr: { name: 'request/response', unit: '/CPU-s', perUnit: 1 },
  short: { name: 'short connections', unit: '/CPU-s', perUnit: 1 },
  stream: { name: 'stream', unit: 'Gbit/CPU-s', perUnit: 8 / 1e9 },
} as const
export type Kind = keyof typeof kinds
const places = [
  ['sameNode', 'same node', 'ptp, kernel routes'],
  ['across', 'across', 'sinabro --tunnel kernel'],
] as const

export const podToPod: Bench = {
  name: 'pod-to-pod',
  async run(context) {
    const load = await compile('load', context.dir)
    await using ours = await ownStand(`${LAB_NAME}-ours`, context.dir)
    await using routed = await routedStand(`${LAB_NAME}-ptp`, context.dir)
    await using kernel = await ownStand(`${LAB_NAME}-kernel`, context.dir, ['--tunnel', 'kernel'])
    const peers = { sameNode: routed, across: kernel }
    for (const stand of [ours, routed, kernel]) await stand.serve(load)
    const rows = await everyWay(context, ours, peers, load, '')
    const sizes: string[] = []
    for (const stand of [ours, routed, kernel]) {
      const listed = await stand.loadRules(proxyRules())
      const { chains, rules } = sizeOfRules(listed)
      sizes.push(`${chains} chains, ${rules} rules`)
    }
    context.say(`rules on every node: those of ${PROXY_RULES_OF}; loaded ${sizes.join('; ')}`)
    return [...rows, ...(await everyWay(context, ours, peers, load, ', rules'))]
  },
}

async function everyWay(
  { runs }: BenchContext,
  ours: PodStand,
  peers: Readonly<Record<'sameNode' | 'across', PodStand>>,
  load: string,
  suffix: string,
): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const [place, where, peerName] of places) {
    const metricOf = (kind: Kind) => `${kinds[kind].name}, ${where}${suffix}`
    const side = (name: string, stand: PodStand): Side => ({
      name,
      measure: async () => {
        const figures: Record<string, number> = {}
        for (const kind of Object.keys(kinds) as Kind[]) {
          figures[metricOf(kind)] = await drive(stand.routes[place], load, kind)
        }
        return figures
      },
    })
    const metrics = Object.fromEntries(
      (Object.keys(kinds) as Kind[]).map((kind) => [
        metricOf(kind),
        { unit: kinds[kind].unit, better: 'higher' as const },
      ]),
    )
    const sides = { ours: side('sinabro', ours), peer: side(peerName + suffix, peers[place]) }
    rows.push(...(await compare('pod-to-pod', metrics, sides, runs)))
  }
  return rows
}

/** In the unit of the kind. */
export async function drive({ from, address }: Route, load: string, kind: Kind): Promise<number> {
  const argv = [load, String(CPU), kind, address, String(MEASURE_MS)]
  const { stdout } = await from.exec(argv)
  const [count = Number.NaN, ns = Number.NaN] = stdout.trim().split(' ').map(Number)
  return (count / (ns / 1e9)) * kinds[kind].perUnit
}
