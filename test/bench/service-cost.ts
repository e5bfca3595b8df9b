// What services cost above empty programs: packets of flows that have a backend, first ones, which pick it, and connect(). Goals: an
// established one 160 ns over all programs that it meets on the node, XDP 130 ns.
import { type Cost, measureCosts } from '../../bpf/tests/cost.ts'
import { serviceCostCases } from '../../bpf/tests/service-cost-cases.ts'
import { measureConnects } from '../../bpf/tests/socket-cost.ts'
import { measureXdp } from '../../bpf/tests/xdp-cost.ts'
import { costBench } from './packet-cost.ts'

/** One hook after the other; whatever serves on another one has its line here. */
const HOOKS: readonly ((repeat: number) => Promise<readonly Cost[]>)[] = [
  (repeat) => measureCosts(serviceCostCases, repeat),
  measureConnects,
  measureXdp,
]

export const serviceCost = costBench('service-cost', async (repeat) => {
  const costs: Cost[] = []
  for (const measure of HOOKS) costs.push(...(await measure(repeat)))
  return costs
})
