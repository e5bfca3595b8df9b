// Which refused ADDs a Pod's owner hears of, and in which words.
import { codes } from '@sinabro/cni/wire'
import { expect, test } from 'vitest'
import { IpamError } from '../ipam/errors.ts'
import { CniError, toCniError } from './error.ts'
import { eventOfRefusal } from './refusal.ts'

const ofPod = (namespace: string, name: string) => ({
  args: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}`,
})

test('eventOfRefusal() says of the Pod that the node has no address left', () => {
  const full = new IpamError('pool-exhausted', '10.244.1.0/24: all 254 addresses are in use')
  expect(eventOfRefusal(ofPod('shop', 'web-0.a'), toCniError(full))).toEqual({
    type: 'Warning',
    reason: 'NoPodAddress',
    message: 'no free address: 10.244.1.0/24: all 254 addresses are in use',
    about: { kind: 'Pod', namespace: 'shop', name: 'web-0.a' },
  })
})

test.each([
  [codes.addressUnavailable, 'PodAddressUnavailable'],
  [codes.hostPortTaken, 'HostPortTaken'],
  [codes.invalidConfig, 'InvalidPodNetworkConfig'],
  [codes.tryAgainLater, undefined],
  [codes.internal, undefined],
])('eventOfRefusal() tells of error %i as %s', (code, reason) => {
  const event = eventOfRefusal(ofPod('shop', 'web'), new CniError(code, 'why'))
  expect(event?.reason).toBe(reason)
})

test.each([
  ['', ''],
  ['shop', ''],
  ['../../v1', 'web'],
  ['shop', 'web/..'],
  ['a'.repeat(64), 'web'],
  ['shop', 'a'.repeat(254)],
])('eventOfRefusal() tells nothing of a pod %j/%j, which no API server has', (namespace, name) => {
  const refusal = new CniError(codes.poolExhausted, 'no free address')
  expect(eventOfRefusal(ofPod(namespace, name), refusal)).toBeUndefined()
})
