// What tests of services start from: nodes whose agents do kube-proxy's work, pods that serve, and Services written and changed as manifests.
import { type AgentOptions, eventually, type Lab, type LabOptions, type Pod } from '../lab/index.ts'
import { type EndpointObject, type ServiceOptions, serviceObjects } from '../lab/service-objects.ts'
import { greet, type Place, serve } from '../lab/talk.ts'
import { HTTP_PORT, TCP_PORT, UDP_PORT } from '../lab/traffic.ts'
import { raise } from './stage.ts'

export const FAMILIES = [4, 6] as const
export type Family = (typeof FAMILIES)[number]
export const WEB_PORT = 80
export const ECHO_PORT = 7
export const NODE_PORT = 30_080
/** Of both families; nobody else's. */
const RANGES = '10.96.0.0/16,fd00:10:96::/112'

export const AGENT: AgentOptions = { args: ['--services', 'ebpf', '--service-cidrs', RANGES] }

/** Cluster addresses of service number N. */
export function clusterIPs(number: number): { readonly 4: string; readonly 6: string } {
  return { 4: `10.96.0.${number}`, 6: `fd00:10:96::${number.toString(16)}` }
}

export const PORTS = [
  { name: 'web', port: WEB_PORT, targetPort: HTTP_PORT },
  { name: 'echo', port: ECHO_PORT, targetPort: UDP_PORT, protocol: 'UDP' },
] as const

/** Of a load balancer; only the router knows them, and which node has them. */
export const BALANCED = { 4: '198.51.100.77', 6: '2001:db8:51::77' } as const
/** The servers' own, so that transfers find them there; also at node ports, NODE_PORT and those after it. */
export const BALANCED_PORTS = [
  { name: 'web', port: HTTP_PORT, targetPort: HTTP_PORT, nodePort: NODE_PORT },
  { name: 'bulk', port: TCP_PORT, targetPort: TCP_PORT, nodePort: NODE_PORT + 1 },
  {
    ...{ name: 'echo', port: UDP_PORT, targetPort: UDP_PORT, nodePort: NODE_PORT + 2 },
    protocol: 'UDP',
  },
] as const

export function raiseWithServices(
  name: string,
  options: Partial<LabOptions> & { readonly agent?: AgentOptions } = {},
): Promise<Lab> {
  return raise(`services-${name}`, { agent: AGENT, ...options })
}

/** Its pods at 172.18… are the node itself, as of pods in the host's network. */
export function endpointOf(place: Pod, more: Partial<EndpointObject> = {}): EndpointObject {
  return { addresses: place.addresses, nodeName: place.machine.name, ...more }
}

export function hostEndpoint(lab: Lab, number: number): EndpointObject {
  const { plan, name } = lab.node(number)
  return { addresses: plan.internalIps, nodeName: name }
}

/** A Service of number N in both families, in front of these. Written again it is changed. */
export function writeService(
  lab: Lab,
  number: number,
  endpoints: readonly EndpointObject[],
  more: Partial<ServiceOptions> = {},
): void {
  const { 4: v4, 6: v6 } = clusterIPs(number)
  const options = { clusterIPs: [v4, v6], ports: PORTS, endpoints, ...more }
  for (const object of serviceObjects(`service-${number}`, options)) lab.manifests.write(object)
}

/** A Service with a load balancer in front, at BALANCED. */
export function writeBalanced(
  lab: Lab,
  number: number,
  endpoints: readonly EndpointObject[],
  more: Partial<ServiceOptions> = {},
): void {
  writeService(lab, number, endpoints, {
    ports: BALANCED_PORTS,
    spec: { type: 'LoadBalancer' },
    status: { loadBalancer: { ingress: FAMILIES.map((family) => ({ ip: BALANCED[family] })) } },
    ...more,
  })
}

/** What the host outside sends to BALANCED comes to this node from now on. */
export async function balanceTo(lab: Lab, number: number): Promise<void> {
  for (const family of FAMILIES) {
    const via = nodeAddress(lab, number, family)
    await lab.outside.exec(['ip', 'route', 'replace', BALANCED[family], 'via', via])
  }
}

export function nodeAddress(lab: Lab, number: number, family: Family): string {
  return lab.node(number).plan.internalIps[family === 4 ? 0 : 1] ?? ''
}

export function removeService(lab: Lab, number: number): void {
  const { 4: v4, 6: v6 } = clusterIPs(number)
  const options = { clusterIPs: [v4, v6], ports: PORTS, endpoints: [] }
  for (const object of serviceObjects(`service-${number}`, options)) lab.manifests.remove(object)
}

export async function addServers(lab: Lab, number: number, ...names: string[]): Promise<Pod[]> {
  return await Promise.all(
    names.map(async (name) => {
      const pod = await lab.node(number).addPod(name)
      await serve(pod)
      return pod
    }),
  )
}

/**
 * The same pod with its processes where no program of the node sees their sockets, as in a virtual machine: only packets tell that they
 * ask for a service.
 */
export function unhooked(pod: Pod): Place {
  const cgroup = `../unhooked/${pod.machine.name}-${pod.name}`
  return { machine: pod.machine, name: pod.name, inside: { ...pod.inside, cgroup } }
}

/** Who answers `times` connections one after the other; in order. */
export async function answerers(
  from: Place,
  address: string,
  times: number,
  port = WEB_PORT,
): Promise<string[]> {
  const heard: string[] = []
  for (let i = 0; i < times; i++) heard.push((await greet(from, address, port)).server)
  return heard
}

/** Until exactly these have answered, among enough connections that none is left out by chance. */
export async function untilAnsweredBy(
  from: Place,
  address: string,
  names: readonly string[],
  port = WEB_PORT,
): Promise<void> {
  const wanted = [...names].sort().join()
  await eventually(`${wanted} to answer ${from.name} at ${address}`, async () => {
    const heard = new Set<string>()
    for (let i = 0; i < names.length * 8 && heard.size <= names.length; i++) {
      const answer = await greet(from, address, port).catch(() => undefined)
      if (answer === undefined) return false
      heard.add(answer.server)
      if (i >= names.length * 2 && [...heard].sort().join() === wanted) break
    }
    return [...heard].sort().join() === wanted
  })
}

/** How long one waits for an answer that shall come, and for one that shall not; on a busy machine a shell alone takes a second. */
const PATIENCE_SEC = 15
export const SILENCE_SEC = 4

/** What a connection that is not answered comes to: `refused`, `silent` or whatever the shell said. */
export async function dial(
  from: Place,
  address: string,
  port = WEB_PORT,
  patienceSec = PATIENCE_SEC,
): Promise<string> {
  const script = 'exec 3<>"/dev/tcp/$0/$1" && echo connected'
  const argv = ['timeout', String(patienceSec), 'bash', '-c', script, address, String(port)]
  const options = { ...from.inside, canFail: true }
  const { status, stdout, stderr } = await from.machine.exec(argv, options)
  if (status === 124) return 'silent'
  return /refused/i.test(stderr) ? 'refused' : `${stdout}${stderr}`.trim()
}
