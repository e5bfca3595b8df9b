// Rows of flows from pod a, as its first packets leave them, on either way.
import { FLOW_SEEN } from '../src/layouts.ts'
import {
  type FlowSpec,
  flowExpected,
  INCARNATION_A,
  INCARNATION_B,
  keyOf,
  NODE_2,
  type RowSpec,
  reverse,
} from './world.ts'

/** Both rows of a flow from pod a, as its first packet leaves them. */
export function opened(spec: FlowSpec, row: RowSpec, back: RowSpec) {
  return [
    [keyOf(spec), flowExpected({ ...row, flags: FLOW_SEEN })],
    [keyOf(reverse(spec)), flowExpected(back)],
  ] as const
}

export const local: RowSpec = {
  kind: 'local',
  sourceIncarnation: INCARNATION_A,
  targetIncarnation: INCARNATION_B,
}
export const localBack: RowSpec = {
  kind: 'local',
  sourceIncarnation: INCARNATION_B,
  targetIncarnation: INCARNATION_A,
}
export const remote: RowSpec = { kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A }
export const remoteBack: RowSpec = {
  kind: 'local',
  targetIncarnation: INCARNATION_A,
  sourceNode: NODE_2,
}
export const stack: RowSpec = { kind: 'stack', sourceIncarnation: INCARNATION_A }
export const stackBack: RowSpec = { kind: 'stack', targetIncarnation: INCARNATION_A }
