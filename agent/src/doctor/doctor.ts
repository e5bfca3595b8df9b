// `sinabro doctor`: every check against this node, shown so that the worst is read first.

import { showFeatures } from '../api/show.ts'
import { printable } from '../api/table.ts'
import { formatOutput } from '../api/view.ts'
import type { DoctorConfig, OutputFormat } from '../config.ts'
import { FeatureError, type FeatureView } from '../features/features.ts'
import { agent, foreignRoutes } from './checks/agent.ts'
import { forwardPolicy } from './checks/firewall.ts'
import { bpfFileSystem, kernelFeatures } from './checks/kernel.ts'
import { kubeProxy } from './checks/kube-proxy.ts'
import { flowTable, masquerade } from './checks/masquerade.ts'
import { networkd, networkManager } from './checks/network-managers.ts'
import { cniConfiguration, plugins, runtimeDirectories } from './checks/runtime-config.ts'
import { forwarding, reversePath } from './checks/settings.ts'
import { foreignTunnel, mtu } from './checks/tunnel.ts'
import { xdp } from './checks/xdp.ts'
import { type Check, examine, type Report } from './finding.ts'
import { World } from './world.ts'

export const CHECKS: readonly Check<World>[] = [
  agent,
  kernelFeatures,
  bpfFileSystem,
  forwarding,
  reversePath,
  forwardPolicy,
  foreignTunnel,
  foreignRoutes,
  masquerade,
  flowTable,
  kubeProxy,
  xdp,
  mtu,
  cniConfiguration,
  runtimeDirectories,
  plugins,
  networkManager,
  networkd,
]

export interface Diagnosis {
  readonly text: string
  /** Nothing that was found is an error. */
  readonly isSound: boolean
}

export async function doctor(config: DoctorConfig, output: OutputFormat): Promise<Diagnosis> {
  using world = new World(config)
  const findings = await examine(CHECKS, world)
  const features = await featuresOf(world)
  return {
    text: await formatOutput(output, { findings, features }, () =>
      [showFindings(findings), ...(features.length > 0 ? [showFeatures(features)] : [])].join(
        '\n\n',
      ),
    ),
    isSound: findings.every(({ level }) => level !== 'error'),
  }
}

/** As the agent uses them, if one runs. */
async function featuresOf(world: World): Promise<readonly FeatureView[]> {
  const agent = await world.agent()
  if (!('error' in agent) && agent.status.features !== undefined) return agent.status.features
  try {
    return (await world.features()).view()
  } catch (error) {
    if (error instanceof FeatureError) return []
    throw error
  }
}

const ORDER: readonly Report['level'][] = ['error', 'warning', 'skipped', 'ok']

export function showFindings(findings: readonly Report[]): string {
  const sorted = [...findings].sort((a, b) => ORDER.indexOf(a.level) - ORDER.indexOf(b.level))
  const blocks = sorted
    .filter(({ level }) => level === 'error' || level === 'warning')
    .map((one) =>
      [
        `${one.level.toUpperCase()}  ${one.check}: ${one.found}`,
        `  means  ${one.means}`,
        `  do     ${one.do}`,
      ]
        .map(printable)
        .join('\n'),
    )
  const skipped = sorted
    .filter(({ level }) => level === 'skipped')
    .map(({ check, found }) => printable(`skipped  ${check}: ${found}`))
  const fine = sorted.filter(({ level }) => level === 'ok').map(({ check }) => check)
  return [
    ...blocks,
    ...(skipped.length > 0 ? [skipped.join('\n')] : []),
    ...(fine.length > 0 ? [`ok  ${fine.join(', ')}`] : []),
  ].join('\n\n')
}
