// A second underlay: one more cable from the router and from each node, with addresses, over which no route leads until a test adds one.
import type { Lab } from './lab.ts'
import { OUTSIDE_HOST } from './plan.ts'
import { batch, batchFromHost } from './underlay.ts'

export const SECOND_UPLINK = 'eth1'
const BRIDGE = 'br1'

/** Of node number N, or of the router. */
export function secondAddress(family: 4 | 6, number = OUTSIDE_HOST): string {
  return family === 4 ? `172.19.0.${number}` : `fd19::${number.toString(16)}`
}

/** To a lab of plain cables. */
export async function addSecondUplink(lab: Lab): Promise<void> {
  const ends = [
    { machine: lab.outside, number: OUTSIDE_HOST },
    ...lab.nodes.map(({ machine }, at) => ({ machine, number: at + 1 })),
  ]
  const cables = ends.flatMap(({ machine: { name, state } }) => [
    `link add q-${name} type veth peer name ${SECOND_UPLINK} netns ${state.init.pid}`,
    `link set q-${name} master ${BRIDGE} up`,
  ])
  await batchFromHost(lab.underlay, [
    `link add ${BRIDGE} type bridge stp_state 0`,
    ...cables,
    `link set ${BRIDGE} up`,
  ])
  for (const { machine, number } of ends) {
    await batch(machine, [
      `address add ${secondAddress(4, number)}/24 dev ${SECOND_UPLINK}`,
      `address add ${secondAddress(6, number)}/64 dev ${SECOND_UPLINK} nodad`,
      `link set ${SECOND_UPLINK} up`,
    ])
  }
}
