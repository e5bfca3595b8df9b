// What a Pod's owner hears of an ADD that was refused: an event of the Pod, when waiting alone does not help. Pure.
import { type CniRequest, codes } from '@sinabro/cni/wire'
import type { ClusterEvent } from '../cluster/sink.ts'
import type { CniError } from './error.ts'
import { decodeOwner } from './request.ts'

/** What somebody must do something about; the agent's own troubles are events and conditions of its Node. */
const REASONS: ReadonlyMap<number, string> = new Map([
  [codes.poolExhausted, 'NoPodAddress'],
  [codes.addressUnavailable, 'PodAddressUnavailable'],
  [codes.hostPortTaken, 'HostPortTaken'],
  [codes.invalidConfig, 'InvalidPodNetworkConfig'],
])

/** Names as an API server gives them: they stand in the path of a request to it. */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/

/** The same each time that the runtime asks again, so that it is one event with a count. */
export function eventOfRefusal(
  { args }: Pick<CniRequest, 'args'>,
  { cniCode, message, details }: CniError,
): ClusterEvent | undefined {
  const reason = REASONS.get(cniCode)
  const { podNamespace: namespace = '', podName: name = '' } = decodeOwner(args)
  if (reason === undefined || !LABEL.test(namespace) || !SUBDOMAIN.test(name)) return undefined
  return {
    type: 'Warning',
    reason,
    message: details === undefined ? message : `${message}: ${details}`,
    about: { kind: 'Pod', namespace, name },
  }
}
