// Mirror of bpf/lib/outcomes.h: places, outcomes and drop reasons by number, with words for people.

/** The hooks that count, by number (enum place). Append only. */
export const PLACES = [
  'from_pod',
  'to_pod',
  'from_overlay',
  'to_overlay',
  'from_uplink',
  'to_uplink',
  'socket',
  'xdp_uplink',
] as const
export type Place = (typeof PLACES)[number]
/** Where every packet is counted: not calls of processes, nor only what goes on from there. */
export type PacketPlace = Exclude<Place, 'socket' | 'xdp_uplink'>

export const PLACES_MAX = 8
export const OUTCOMES_MAX = 64
/** Outcomes from the one to the other are drops, and from the third to the fourth. */
export const DROP_FIRST = 16
export const DROP_LAST = 47
export const DROP_MORE = 50
export const DROP_MORE_LAST = 51

export interface Outcome {
  /** Value of enum outcome. Append only. */
  readonly number: number
  /** Name in bpf/lib/outcomes.h. */
  readonly symbol: string
  /** Stable short name for metrics and output. */
  readonly name: string
  /** What a person at 3 a.m. should read. */
  readonly text: string
  /** Normal noise: shown only when asked for. */
  readonly isQuiet: boolean
}

export const OUTCOMES: readonly Outcome[] = [
  pass(0, 'PASS_LOCAL', 'redirected into a local pod'),
  pass(1, 'PASS_NODE', 'sent to another node through the tunnel'),
  pass(2, 'PASS_STACK', "took the kernel's stack, as its flow does"),
  pass(3, 'PASS_DONE', 'finished by an earlier program'),
  pass(4, 'PASS_NEIGHBOUR', 'honest ARP or neighbour discovery, left to the kernel'),
  pass(5, 'PASS_UNTRACKED', 'multicast, broadcast, loopback or link-local, left to the kernel'),
  pass(6, 'PASS_STACK_TTL', 'TTL ran out: the stack tells the sender'),
  pass(7, 'PASS_STACK_MTU', 'above the MTU: the stack tells the sender or fragments'),
  pass(8, 'PASS_STACK_FRAGMENT', 'later fragment whose first was not seen'),
  pass(9, 'PASS_STACK_ERROR', 'ICMP error about a flow without a row'),
  pass(10, 'PASS_UPLINK', 'sent to another node by an uplink, without a tunnel'),
  pass(11, 'PASS_TUNNEL', "the tunnel's own packet, on its way to the overlay device"),
  pass(12, 'PASS_FOREIGN', "not of the pod network: the node's own business"),
  pass(13, 'PASS_GATEWAY', "asked for the gateway's MAC, and was told"),
  pass(14, 'PASS_OUT', "left by an uplink under the node's address"),
  pass(15, 'PASS_TRANSLATED', "the node's own, under another port because a pod has it"),

  drop(16, 'DROP_TRUNCATED', 'packet ends before its headers do'),
  drop(17, 'DROP_BAD_HEADER', 'header with a version or length that cannot be'),
  drop(18, 'DROP_EXTENSION_HEADERS', 'more IPv6 extension headers than are followed'),
  drop(19, 'DROP_NOT_IP', 'neither IPv4, IPv6 nor ARP'),
  drop(20, 'DROP_SPOOFED_SOURCE', "source address is not the sending pod's"),
  drop(21, 'DROP_SPOOFED_ARP', "ARP that claims an address or MAC that is not the pod's"),
  drop(22, 'DROP_SPOOFED_ND', "neighbour discovery that claims an address or MAC not the pod's"),
  drop(23, 'DROP_ROUTER_ADVERTISEMENT', 'router advertisement or ICMPv6 redirect from a pod'),
  drop(24, 'DROP_UNKNOWN_NODE', 'tunnel packet from an address that is no node'),
  drop(25, 'DROP_FOREIGN_SOURCE', 'tunnel packet whose inner source is not of the sending node'),
  drop(26, 'DROP_WRONG_VNI', 'tunnel packet of another network identifier'),
  quiet(27, 'DROP_DAD', 'duplicate address detection'),
  quiet(28, 'DROP_MULTICAST_LISTENER', 'multicast listener discovery'),
  quiet(29, 'DROP_LINK_LOCAL', 'IPv6 link-local source, for example a router solicitation'),
  quiet(30, 'DROP_OVERLAY_MULTICAST', 'multicast, broadcast or ARP on the overlay'),
  drop(31, 'DROP_NOT_READY', 'the agent has not filled the maps yet'),
  drop(32, 'DROP_NO_ENDPOINT', 'tunnel packet for an address no local pod has'),
  drop(33, 'DROP_NO_NODE', 'no usable node is known for the destination'),
  drop(34, 'DROP_NO_TUNNEL_KEY', 'tunnel metadata missing or refused'),
  drop(35, 'DROP_FLOWS_FULL', 'flow table is full'),
  drop(36, 'DROP_TUNNEL_PORT', "from a pod to the tunnel's port outside the pod network"),
  drop(37, 'DROP_FOREIGN_ERROR', 'ICMP error from a pod about a packet that was not for it'),
  drop(38, 'DROP_LOOPBACK', 'from a pod to a loopback address'),
  drop(39, 'DROP_FLOW_SHARE', 'another new flow, and its sender has as many open as are free'),
  drop(40, 'DROP_NATIVE_SOURCE', "in a pod's name, and came neither from it nor by the tunnel"),
  drop(41, 'DROP_NATIVE_TARGET', "to a pod's address past the tunnel"),
  drop(42, 'DROP_NO_PORT', 'every port towards the destination is in use'),
  drop(43, 'DROP_FRAGMENT_ORDER', 'later fragment to be masqueraded, and its first was not seen'),
  drop(
    44,
    'DROP_TRANSLATION_TAKEN',
    "of a translated flow, half of which is another flow's by now",
  ),
  drop(
    45,
    'DROP_SERVICE_ADDRESS',
    'to an address of a service range, or a port there, that no service has',
  ),
  drop(46, 'DROP_SOURCE_RANGE', 'for a service that is not for this source'),
  drop(
    47,
    'DROP_NO_LOCAL_BACKEND',
    'to a service whose backends must be on this node, and none is',
  ),

  pass(
    48,
    'PASS_SERVICE',
    "a backend in place of a service for a socket, or the node's own answering as one",
  ),
  pass(
    49,
    'PASS_REFUSED',
    'to a service without endpoints, or a pod that is gone: the sender is told',
  ),

  drop(
    50,
    'DROP_NOT_BACKEND',
    'another node was asked for a service, and sent it on for what is no backend of it here',
  ),
  drop(
    51,
    'DROP_NO_ROUTE',
    'to or from a client outside that asks a service, and no route leads there',
  ),
]

/** Key of sb_counters. */
export function counterIndex(place: number, outcome: number): number {
  return place * OUTCOMES_MAX + outcome
}

export function isDrop(outcome: Outcome): boolean {
  const { number } = outcome
  return (
    (number >= DROP_FIRST && number <= DROP_LAST) ||
    (number >= DROP_MORE && number <= DROP_MORE_LAST)
  )
}

function outcome(number: number, symbol: string, text: string, isQuiet: boolean): Outcome {
  const name = symbol.replace(/^(PASS|DROP)_/, '').toLowerCase()
  return { number, symbol, name, text, isQuiet }
}

function pass(number: number, symbol: string, text: string): Outcome {
  return outcome(number, symbol, text, true)
}

function drop(number: number, symbol: string, text: string): Outcome {
  return outcome(number, symbol, text, false)
}

function quiet(number: number, symbol: string, text: string): Outcome {
  return outcome(number, symbol, text, true)
}
