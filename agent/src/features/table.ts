// What of the kernel the agent uses or could use: the words for people, and whether there is another way.

export interface Feature {
  /** What it serves today; absent: nothing yet. */
  readonly use?: string
  /** What is done instead, or what is missing; 'required' ones have no other way. */
  readonly without: string
  readonly isRequired?: true
}

const none = 'nothing: the agent does not start'

/** In the order they are shown. Names are what `--without-features` takes. */
export const FEATURES = {
  redirect_peer: { use: 'into pods past the stack', without: none, isRequired: true },
  redirect_neigh: { use: 'out of an uplink past the stack', without: none, isRequired: true },
  tunnel_local_ip: { use: 'source address of the tunnel', without: none, isRequired: true },
  for_each_map_elem: { use: 'whose flows are counted anew', without: none, isRequired: true },
  jiffies64: { use: 'ages of flows', without: none, isRequired: true },
  veth: { use: 'pods', without: none, isRequired: true },
  vxlan_metadata: { use: 'the overlay device in mode bpf', without: none, isRequired: true },
  clsact: { use: 'programs on pods', without: none, isRequired: true },
  tcx: { use: 'programs on the overlay device and uplinks', without: 'clsact filters' },
  netkit: { use: 'pods', without: 'veth' },
  map_batch: { use: 'reading and writing whole maps', without: 'one call per row' },
  btf: { use: 'sweeping the flow table', without: none, isRequired: true },
  ring_buffer: { without: 'no events' },
  socket_lookup: {
    use: 'the node’s own ports, which no pod gets',
    without: none,
    isRequired: true,
  },
  socket_destroy: {
    use: 'ends of UDP sockets whose backend is gone',
    without: 'these sockets stay, and ask nobody',
  },
  fib_lookup_src: {
    use: 'address of the node that a route names',
    without: 'source addresses from the table of uplinks',
  },
  csum_ipv6: {
    use: 'checksums of translated IPv6',
    without: 'compensated by one more helper call',
  },
  loop: { use: 'searching a free port', without: none, isRequired: true },
  xdp: {
    use: 'services before the stack',
    without: 'services by tc, at the cost of a packet buffer',
  },
  cgroup2: {
    use: 'services at connect()',
    without: 'services of pods packet by packet, none for the node itself',
  },
} as const satisfies Record<string, Feature>

export type FeatureName = keyof typeof FEATURES
export const FEATURE_NAMES = Object.keys(FEATURES) as FeatureName[]

export function isFeatureName(name: string): name is FeatureName {
  return Object.hasOwn(FEATURES, name)
}

export function describeFeature(name: FeatureName): Feature {
  return FEATURES[name]
}
