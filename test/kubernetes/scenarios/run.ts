// Runs scenarios one after the other, in the order of the list.
import type { Cluster } from '../cluster.ts'
import type { Report } from '../report.ts'
import { addresses } from './addresses.ts'
import { agents } from './agents.ts'
import { bandwidth } from './bandwidth.ts'
import { connectivity } from './connectivity.ts'
import { directReturn } from './direct-return.ts'
import { disruption } from './disruption.ts'
import { fromOutside } from './from-outside.ts'
import { kind } from './kind.ts'
import { kustomize } from './kustomize.ts'
import { leaving } from './leaving.ts'
import { libcni } from './libcni.ts'
import { modes } from './modes.ts'
import { moving } from './moving.ts'
import { operator } from './operator.ts'
import { otherNetwork } from './other-network.ts'
import { restoring } from './restoring.ts'
import { rolling } from './rolling.ts'
import { rules } from './rules.ts'
import { scale } from './scale.ts'
import type { Scenario } from './scenario.ts'
import { serviceChurn } from './service-churn.ts'

const ALL: readonly Scenario[] = [
  ...connectivity,
  ...operator,
  ...fromOutside,
  ...directReturn,
  ...rolling,
  ...serviceChurn,
  ...agents,
  ...addresses,
  ...bandwidth,
  ...libcni,
  ...otherNetwork,
  ...disruption,
  ...modes,
  ...moving,
  ...rules,
  ...restoring,
  ...scale,
  ...leaving,
  ...kind,
  ...kustomize,
]

export async function runScenarios(
  cluster: Cluster,
  report: Report,
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const chosen = ALL.filter(
    ({ name }) => names.length === 0 || names.some((part) => name.includes(part)),
  )
  if (chosen.length === 0) {
    throw new Error(`no such scenario; there are\n${ALL.map(({ name }) => `  ${name}`).join('\n')}`)
  }
  for (const scenario of chosen) {
    if (signal.aborted) return
    if (scenario.isWithoutKubeProxy && cluster.hasKubeProxy) {
      report.skip(scenario.name, 'kube-proxy serves')
      continue
    }
    await report.check(scenario.name, () => scenario.run(cluster))
  }
}
