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
import { status } from './status.ts'

const ALL: readonly Scenario[] = [
  ...connectivity,
  ...operator,
  ...status,
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

/** Of what differs where kube-proxy and portmap serve and the runtime asks STATUS. */
export const BESIDE_KUBE_PROXY: readonly Scenario[] = [...connectivity, ...status, ...addresses]

export async function runScenarios(
  cluster: Cluster,
  report: Report,
  names: readonly string[],
  signal: AbortSignal,
  except: readonly Scenario[] = [],
): Promise<void> {
  const chosen = ALL.filter(
    (scenario) =>
      !except.includes(scenario) &&
      (names.length === 0 || names.some((part) => scenario.name.includes(part))),
  )
  if (chosen.length === 0) {
    throw new Error(`no such scenario; there are\n${ALL.map(({ name }) => `  ${name}`).join('\n')}`)
  }
  await runEach(chosen, cluster, report, signal)
}

/** @param where what the report adds to their names */
export async function runEach(
  scenarios: readonly Scenario[],
  cluster: Cluster,
  report: Report,
  signal: AbortSignal,
  where = '',
): Promise<void> {
  for (const scenario of scenarios) {
    if (signal.aborted) return
    const name = `${scenario.name}${where}`
    const why = scenario.unfit?.(cluster)
    if (why === undefined) await report.check(name, () => scenario.run(cluster))
    else report.skip(name, why)
  }
}
