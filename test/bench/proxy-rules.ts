// A rule set of the shape that kube-proxy gives nftables: a verdict map of service addresses, a chain per service and per
// endpoint, masquerading by mark, and conntrack switched on by it. It shows what such rules cost a packet that is for no service.

export interface ProxyRulesOptions {
  readonly services: number
  readonly endpointsPerService: number
}

export const PROXY_TABLE = 'bench-proxy'

const MASQUERADE_MARK = '0x4000'
const POD_RANGE = '10.240.0.0/12'

/** For `nft -f -`. Service addresses are in 10.96.0.0/16, endpoints in 10.254.0.0/16, where nobody is. */
export function proxyRules({ services, endpointsPerService }: ProxyRulesOptions): string {
  const all = Array.from({ length: services }, (_, i) => service(i, endpointsPerService))
  return `table ip ${PROXY_TABLE} {
  set cluster-ips {
    type ipv4_addr
    elements = { ${all.map(({ address }) => address).join(', ')} }
  }
  set nodeport-ips { type ipv4_addr; elements = { 172.18.0.1, 172.18.0.2 }; }
  map service-ips {
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = { ${all.map(({ address, chain }) => `${address} . tcp . 80 : goto ${chain}`).join(',\n      ')} }
  }
  map service-nodeports { type inet_proto . inet_service : verdict; }
  map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
  map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }

${all.map(({ rules }) => rules).join('\n')}
  chain mark-for-masquerade { meta mark set meta mark or ${MASQUERADE_MARK}; }
  chain masquerading {
    meta mark & ${MASQUERADE_MARK} == 0 return
    meta mark set meta mark xor ${MASQUERADE_MARK}
    masquerade fully-random
  }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }
  chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
  chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
  chain nodeport-endpoints-check {
    ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
  }
  chain cluster-ips-check { ip daddr @cluster-ips reject; }

  chain filter-prerouting {
    type filter hook prerouting priority dstnat - 10; policy accept;
    ct state new jump firewall-check
  }
  chain filter-input {
    type filter hook input priority -110; policy accept;
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }
  chain filter-forward {
    type filter hook forward priority -110; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain filter-output {
    type filter hook output priority -110; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump firewall-check
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
  chain nat-output { type nat hook output priority -100; policy accept; jump services; }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
  }
}
`
}

interface Service {
  readonly address: string
  readonly chain: string
  readonly rules: string
}

function service(number: number, endpoints: number): Service {
  const address = inRange('10.96', number + 1)
  const chain = `service-${number}`
  const all = Array.from({ length: endpoints }, (_, i) => ({
    chain: `endpoint-${number}-${i}`,
    address: inRange('10.254', number * endpoints + i + 1),
  }))
  const choices = all.map((endpoint, i) => `${i} : goto ${endpoint.chain}`).join(', ')
  const chains = all.map(
    (endpoint) => `  chain ${endpoint.chain} {
    ip saddr ${endpoint.address} jump mark-for-masquerade
    meta l4proto tcp dnat to ${endpoint.address}:8080
  }`,
  )
  const own = `  chain ${chain} {
    ip daddr ${address} tcp dport 80 ip saddr != ${POD_RANGE} jump mark-for-masquerade
    numgen random mod ${endpoints} vmap { ${choices} }
  }`
  return { address, chain, rules: [...chains, own].join('\n') }
}

function inRange(prefix: string, number: number): string {
  return `${prefix}.${number >> 8}.${number & 0xff}`
}

export interface RulesSize {
  readonly chains: number
  readonly rules: number
}

/** Of the list that `nft -j list ruleset` prints. */
export function sizeOfRules(listed: unknown): RulesSize {
  const entries =
    typeof listed === 'object' && listed !== null && 'nftables' in listed ? listed.nftables : []
  const count = (what: string) =>
    (Array.isArray(entries) ? entries : []).filter((entry: object) => what in entry).length
  return { chains: count('chain'), rules: count('rule') }
}
