// Writes testdata/*.hex again, all or those named: runs iproute2 under strace in a fresh namespace and keeps what was sent or
// received.
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { release } from 'node:os'

interface Capture {
  readonly name: string
  readonly command: string
  /** The last that `ip` sends; or the first of this type that it receives, as later ones look up names. */
  readonly keep: 'request' | { readonly type: number; readonly hasWords?: true }
  readonly before?: readonly string[]
}

const veth = 'ip link add veth0 address 02:00:00:00:00:01 type veth peer name eth0'
const up = [veth, 'ip link set veth0 up', 'ip link set eth0 up']
const addressed = [
  ...up,
  'ip addr add 10.1.0.1/24 dev veth0',
  'ip addr add fd01::1/64 dev veth0 nodad',
]

const captures: readonly Capture[] = [
  {
    name: 'link-add-veth',
    command:
      'ip link add host0 address 02:00:00:00:00:01 mtu 1400 type veth peer name eth0 address 02:00:00:00:00:02 mtu 1400',
    keep: 'request',
  },
  {
    name: 'link-add-vxlan-external',
    command: 'ip link add vx0 type vxlan dstport 8472 external nolearning udp6zerocsumrx',
    keep: 'request',
  },
  {
    name: 'link-add-bridge',
    command: 'ip link add br0 type bridge mcast_snooping 0',
    keep: 'request',
  },
  { name: 'link-veth', command: 'ip link show dev veth0', keep: { type: 16 }, before: up },
  {
    name: 'link-vxlan',
    command: 'ip -d link show dev vx0',
    keep: { type: 16 },
    before: ['ip link add vx0 type vxlan id 7 dstport 4789 local fd00::1 ttl 9'],
  },
  {
    name: 'address-add-6',
    command: 'ip addr add fd01::1/64 dev veth0 nodad',
    keep: 'request',
    before: up,
  },
  {
    name: 'address-list',
    command: 'ip addr show dev veth0',
    keep: { type: 20 },
    before: addressed,
  },
  {
    name: 'route-add-onlink',
    command:
      'ip route add 10.244.1.0/24 via 10.244.1.0 dev veth0 onlink proto 91 mtu 1350 src 10.1.0.1',
    keep: 'request',
    before: addressed,
  },
  {
    name: 'route-add-multipath',
    command:
      'ip route add 10.10.0.0/16 proto 91 nexthop via 10.1.0.2 dev veth0 weight 3 nexthop via 10.1.0.3 dev veth0',
    keep: 'request',
    before: addressed,
  },
  {
    name: 'route-add-via-inet6',
    command: 'ip route add 10.9.0.0/16 via inet6 fd01::2 dev veth0 metric 5 table 1000',
    keep: 'request',
    before: addressed,
  },
  {
    name: 'route-list-6',
    command: 'ip -6 route show table all',
    keep: { type: 24 },
    before: [...addressed, 'ip -6 route add default via fd01::2 proto 91'],
  },
  {
    name: 'neighbour-add',
    command: 'ip neigh replace 10.1.0.2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent',
    keep: 'request',
    before: addressed,
  },
  {
    name: 'neighbour-list',
    command: 'ip neigh show',
    keep: { type: 28 },
    before: [
      ...addressed,
      'ip neigh replace 10.1.0.2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent',
      'ip neigh replace fd01::2 lladdr 02:00:00:00:00:02 dev veth0 router nud noarp protocol 91',
    ],
  },
  {
    name: 'qdisc-add-clsact',
    command: 'tc qdisc add dev veth0 clsact',
    keep: 'request',
    before: up,
  },
  {
    name: 'rule-add',
    command:
      'ip rule add not from 10.244.0.0/16 to 10.96.0.0/12 iif lo fwmark 0x20/0xf0 ipproto tcp dport 80-90 priority 91 table 1000 suppress_prefixlength 0 protocol 91',
    keep: 'request',
  },
  {
    name: 'rule-list-6',
    command: 'ip -6 rule show',
    keep: { type: 32 },
    before: [
      'ip -6 rule add from fd00::/64 oif lo uidrange 1-9 sport 53 priority 91 goto 32766 protocol 91',
      'ip -6 rule add to fd01::/64 priority 92 prohibit',
    ],
  },
  {
    name: 'nexthop-add',
    command: 'ip nexthop add id 5 via 10.1.0.2 dev veth0 onlink proto 91',
    keep: 'request',
    before: addressed,
  },
  {
    name: 'nexthop-group-add',
    command: 'ip nexthop add id 9 group 1,3/2 type resilient buckets 8 idle_timer 60 proto 91',
    keep: 'request',
    before: [
      ...addressed,
      'ip nexthop add id 1 via 10.1.0.2 dev veth0',
      'ip nexthop add id 2 via fd01::2 dev veth0',
    ],
  },
  {
    name: 'nexthop-list',
    command: 'ip nexthop show',
    keep: { type: 104 },
    before: [
      ...addressed,
      'ip link set lo up',
      'ip nexthop add id 1 via 10.1.0.2 dev veth0',
      'ip nexthop add id 2 via fd01::2 dev veth0 proto 91',
      'ip nexthop add id 3 blackhole',
      'ip nexthop add id 4 via 192.0.2.1 fdb',
      'ip nexthop add id 9 group 1,3/2',
    ],
  },
  {
    name: 'fdb-append',
    command: 'bridge fdb append 00:00:00:00:00:00 dev vx0 dst fd00::2 vni 9 port 8473 via lo self',
    keep: 'request',
    before: ['ip link add vx0 type vxlan id 7 dstport 4789 local fd00::1'],
  },
  {
    name: 'fdb-list',
    command: 'bridge fdb show dev vx0',
    keep: { type: 28 },
    before: [
      'ip link add vx0 type vxlan id 7 dstport 4789 local 10.0.0.1',
      'ip link add br0 type bridge',
      'ip link set vx0 master br0',
      'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.2 port 8473 vni 9 self',
      'bridge fdb add 02:00:00:00:00:05 dev vx0 master static',
    ],
  },
  {
    name: 'qdisc-tbf',
    command: 'tc qdisc show dev veth0',
    keep: { type: 36 },
    before: [...up, 'tc qdisc add dev veth0 root tbf rate 80mbit burst 32kb latency 25ms'],
  },
  {
    name: 'class-htb',
    command: 'tc class show dev veth0',
    keep: { type: 40 },
    before: [
      ...up,
      'tc qdisc add dev veth0 root handle 1: htb default 10',
      'tc class add dev veth0 parent 1: classid 1:1 htb rate 40gbit burst 64kb',
      'tc class add dev veth0 parent 1:1 classid 1:10 htb rate 8mbit ceil 80mbit prio 3 quantum 3000',
    ],
  },
  {
    name: 'filter-redirect',
    command: 'tc filter show dev veth0 ingress',
    keep: { type: 44 },
    before: [
      ...up,
      'ip link add ifb0 type ifb',
      'tc qdisc add dev veth0 clsact',
      "tc filter add dev veth0 ingress prio 7 handle 3 protocol all bpf bytecode '1,6 0 0 4294967295' action mirred egress redirect dev ifb0",
    ],
  },
  {
    name: 'family-get',
    command: 'genl ctrl get name netdev',
    keep: 'request',
  },
  {
    name: 'family',
    command: 'genl ctrl get name netdev',
    keep: { type: 16 },
  },
  {
    name: 'error-with-words',
    command: 'ip link set veth0 mtu 1',
    keep: { type: 2, hasWords: true },
    before: up,
  },
]

const asked = process.argv.slice(2)
for (const capture of captures) {
  if (asked.length > 0 && !asked.includes(capture.name)) continue
  const script = [
    ...(capture.before ?? []),
    `exec strace -q -e trace=sendmsg,recvmsg,sendto -e read=all -e write=all -- ${capture.command}`,
  ].join(' && ')
  const { stderr } = spawnSync('unshare', ['--net', 'sh', '-c', script], { encoding: 'utf8' })
  const tool = execFileSync('ip', ['-V'], { encoding: 'utf8' }).trim()
  const header = `# ${capture.command}\n# ${capture.keep === 'request' ? 'request' : 'answer'}; ${tool}; linux ${release()}; strace -e read=all -e write=all\n`
  const text = wanted(capture, stderr)
  writeFileSync(new URL(`../testdata/${capture.name}.hex`, import.meta.url), `${header}${text}`)
}

/** strace shows each datagram as a call, then its bytes: ` | 00000  20 00 00 00 …  ascii |`. */
function wanted({ name, keep }: Capture, trace: string): string {
  const datagrams: { isSent: boolean; isPeek: boolean; lines: string[] }[] = []
  for (const line of trace.split('\n')) {
    const dump = /^ \| [0-9a-f]+ {2}(.{48})/.exec(line)
    if (dump?.[1]) datagrams.at(-1)?.lines.push(dump[1].replaceAll(/ +/g, ' ').trim())
    else if (/^(send|recv)/.test(line)) {
      datagrams.push({
        isSent: line.startsWith('send'),
        isPeek: line.includes('MSG_PEEK'),
        lines: [],
      })
    }
  }
  const useful = datagrams.filter(({ lines, isPeek }) => lines.length > 0 && !isPeek)
  const isWanted = ({ isSent, lines }: { isSent: boolean; lines: readonly string[] }) =>
    keep === 'request' ? isSent : !isSent && messageType(lines) === keep.type
  // Before its first request ip tries out which filters the kernel knows, which is answered by an error without words.
  const isLast = keep === 'request' || keep.hasWords
  const found = isLast ? useful.findLast(isWanted) : useful.find(isWanted)
  if (found === undefined) throw new Error(`${name}: nothing captured\n${trace}`)
  return `${found.lines.join('\n')}\n`
}

function messageType(lines: readonly string[]): number {
  const [, , , , low = '', high = ''] = (lines[0] ?? '').split(' ')
  return Number.parseInt(high + low, 16)
}
