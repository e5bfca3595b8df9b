// What tests of masquerading start from: nodes, a host far outside that knows no way to pods, and a count of what gets out in a pod's name.
import { addFarHost, type FarHost } from '../lab/far-host.ts'
import type { Lab, LabOptions, Pod } from '../lab/index.ts'
import type { KubernetesObject } from '../lab/manifests.ts'
import { type Place, serve } from '../lab/talk.ts'
import { raise } from './stage.ts'

export type MasqueradeMode = 'ebpf' | 'nftables'
export const MODES: readonly MasqueradeMode[] = ['ebpf', 'nftables']
export const FAMILIES = [4, 6] as const

export interface MasqueradeStage {
  readonly lab: Lab
  readonly far: FarHost
  /** Of node1, by default. */
  nodeAddress(family: 4 | 6, number?: number): string
  /** Packets that came to the router with a pod's address as their source. */
  leaks(): Promise<number>
}

export async function raiseMasquerading(
  name: string,
  mode: MasqueradeMode,
  options: Partial<LabOptions> & { readonly args?: readonly string[] } = {},
): Promise<MasqueradeStage> {
  const { args = [], ...labOptions } = options
  const agent = { args: ['--masquerade', mode, ...args] }
  const lab = await raise(`masquerade-${name}`, { nodes: 1, ...labOptions, agent })
  try {
    const far = await addFarHost(lab)
    await serve(far)
    await lab.outside.exec(['nft', '-f', '-'], { input: PROBE })
    return {
      lab,
      far,
      nodeAddress: (family, number = 1) =>
        lab.node(number).plan.internalIps[family === 4 ? 0 : 1] ?? '',
      leaks: () => countOf(lab, 'leaks'),
    }
  } catch (error) {
    await lab.down()
    throw error
  }
}

const PROBE = `table inet probe {
  counter leaks { }
  chain in {
    type filter hook prerouting priority raw
    ip saddr 10.244.0.0/16 counter name leaks
    ip6 saddr fd00:10:244::/48 counter name leaks
  }
}
`

/** Packets of a named counter in the router's table `probe`. */
export async function countOf(lab: Lab, name: string): Promise<number> {
  const { stdout } = await lab.outside.exec(['nft', 'list', 'counter', 'inet', 'probe', name])
  return Number(/packets (\d+)/.exec(stdout)?.[1])
}

/** Whatever ping says, whether it gets an answer or not. */
export async function pingSays(from: Place, address: string, ...more: string[]): Promise<string> {
  const argv = ['ping', '-n', '-c', '1', '-W', '3', ...more, address]
  const { stdout } = await from.machine.exec(argv, { ...from.inside, canFail: true })
  return stdout
}

/** What an empty datagram to a port brings back within some seconds; empty if nothing. */
export async function knock(from: Place, address: string, port: number): Promise<string> {
  const script = 'exec 3<>"/dev/udp/$0/$1" && echo >&3 && read -t 3 -u 3 answer'
  const argv = ['bash', '-c', script, address, String(port)]
  const { stderr } = await from.machine.exec(argv, { ...from.inside, canFail: true })
  return stderr
}

/** A Pod or Namespace object that says whether its pods are masqueraded. */
export function withAnnotation(
  kind: 'Pod' | 'Namespace',
  metadata: KubernetesObject['metadata'],
  masquerade: 'true' | 'false',
): KubernetesObject {
  const annotations = { 'sinabro.io/masquerade': masquerade }
  return { apiVersion: 'v1', kind, metadata: { ...metadata, annotations } } as KubernetesObject
}

/** The machine's own network, as a place that talks. */
export function nodePlace(lab: Lab, number = 1): Place {
  const { machine, name } = lab.node(number)
  return { machine, name }
}

export async function addPods(lab: Lab, ...names: string[]): Promise<Pod[]> {
  return await Promise.all(names.map((name) => lab.node(1).addPod(name)))
}
