// Who serves Services on this node: kube-proxy beside us, what it has left, or nobody.
import {
  findProxyRules,
  formatProxyRules,
  type ProxyFindings,
  type ProxyRules,
} from '../../services/kube-proxy.ts'
import { type Check, type Finding, Skip } from '../finding.ts'
import type { World } from '../world.ts'

export const kubeProxy: Check<World> = {
  name: 'kube-proxy',
  async run(world) {
    const { source, facts } = (await world.running()).status
    const findings = await findProxyRules({
      run: (program, args) => world.command(program, ...args),
      procNet: (name) => readProcNet(world, name),
    })
    // What could not be looked at matters only where nothing was found.
    if (findings.found.length === 0 && findings.unseen.length > 0) {
      throw new Skip(findings.unseen.join('; '))
    }
    return judgeProxy(
      facts.services?.startsWith('ebpf') === true,
      source.startsWith('kubernetes'),
      findings,
    )
  },
}

/** `isKubernetes`: from a cluster, which has Services; a directory of manifests may have none. Pure. */
export function judgeProxy(
  isServing: boolean,
  isKubernetes: boolean,
  { found }: Pick<ProxyFindings, 'found'>,
): Finding[] {
  if (!isServing) return found.length > 0 || !isKubernetes ? [] : [NOBODY]
  const isIpvs = ({ kind }: ProxyRules) => kind === 'ipvs'
  const rules = found.filter((one) => !isIpvs(one))
  return [...found.filter(isIpvs).map(ipvs), ...(rules.length > 0 ? [beside(rules)] : [])]
}

const NOBODY: Finding = {
  level: 'warning',
  found: '--services is none, and no rules of kube-proxy are in the kernel',
  means:
    'connections from this node and its pods to Services go nowhere, unless somebody else serves them here',
  do: 'start the agent with --services ebpf, or kube-proxy',
}

function beside(rules: readonly ProxyRules[]): Finding {
  return {
    level: 'warning',
    found: `rules of kube-proxy are in the kernel beside --services ebpf: ${rules.map(formatProxyRules).join(', ')}`,
    means:
      'new connections to Services are ours, but all that takes the stack of the kernel meets these rules too; if kube-proxy still runs, it has port 10256, where load balancers ask',
    do: 'take kube-proxy out of the cluster (kubectl -n kube-system delete daemonset kube-proxy), then start the agent once with --clean-kube-proxy yes, which lets established connections go on; or reboot the node',
  }
}

function ipvs(rules: ProxyRules): Finding {
  return {
    level: 'error',
    found: `${formatProxyRules(rules)} of kube-proxy beside --services ebpf`,
    means:
      'addresses of Services are addresses of the node (device kube-ipvs0), and what comes from outside may be taken by IPVS before or after us',
    do: 'take kube-proxy out of the cluster, then reboot the node, or: ipvsadm --clear; ip link delete kube-ipvs0',
  }
}

function readProcNet(world: World, name: string): string | undefined {
  try {
    return world.procNet(name)
  } catch {
    // A kernel without it.
    return undefined
  }
}
