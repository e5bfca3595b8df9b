// A host far outside: behind the nodes' router, which knows no way to pods, and by a narrow link too.
import type { Lab } from './lab.ts'
import type { Place } from './talk.ts'

export interface FarHost extends Place {
  readonly inside: { readonly netns: string }
  address(family: 4 | 6): string
  /** Reached over a link of NARROW_MTU behind the router. */
  narrowAddress(family: 4 | 6): string
}

export const NARROW_MTU = 1300
/** Of the underlays; whatever comes from elsewhere gets no answer. */
const KNOWN = ['172.18.0.0/24', '172.19.0.0/24', 'fd18::/64', 'fd19::/64']
const WIDE = {
  name: 'far0',
  mtu: 1500,
  router: { 4: '203.0.113.1', 6: '2001:db8:113::1' },
  far: { 4: '203.0.113.2', 6: '2001:db8:113::2' },
} as const
const NARROW = {
  name: 'narrow0',
  mtu: NARROW_MTU,
  router: { 4: '198.51.100.1', 6: '2001:db8:51::1' },
  far: { 4: '198.51.100.2', 6: '2001:db8:51::2' },
} as const

export async function addFarHost(lab: Lab): Promise<FarHost> {
  const { outside } = lab
  await outside.exec(['ip', 'netns', 'add', 'far'])
  const inside = { netns: '/run/netns/far' }
  // Until its link-local address is known to be its own, the router asks nobody for a neighbour: seconds, without this.
  const known = ['sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0']
  await outside.exec(known)
  await outside.exec(known, inside)
  const ofRouter: string[] = []
  const ofFar = ['link set lo up']
  for (const { name, mtu, router, far } of [WIDE, NARROW]) {
    const addresses = (of: typeof router | typeof far): string[] => [
      `address add ${of[4]}/24 dev ${name}`,
      `address add ${of[6]}/64 dev ${name} nodad`,
      `link set ${name} up`,
    ]
    ofRouter.push(
      `link add ${name} mtu ${mtu} type veth peer name ${name} mtu ${mtu} netns far`,
      ...addresses(router),
    )
    ofFar.push(...addresses(far))
  }
  const via = (range: string): string => WIDE.router[range.includes(':') ? 6 : 4]
  ofFar.push(...KNOWN.map((range) => `route add ${range} via ${via(range)}`))
  const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']
  await outside.exec(['sysctl', '-qw', ...forwarding, 'net.ipv4.conf.all.rp_filter=0'])
  await outside.exec(['ip', '-batch', '-'], { input: `${ofRouter.join('\n')}\n` })
  await outside.exec(['ip', '-batch', '-'], { ...inside, input: `${ofFar.join('\n')}\n` })
  return {
    machine: outside,
    name: 'far',
    inside,
    address: (family) => WIDE.far[family],
    narrowAddress: (family) => NARROW.far[family],
  }
}
