// Between two ways, by what the kernel has and what was asked for.
import type { PodDevice } from '../pods/device.ts'
import { FeatureError, type Features } from './features.ts'

/** @throws FeatureError kernel, when netkit is asked for and is not there */
export function choosePodDevice(asked: 'auto' | PodDevice, features: Features): PodDevice {
  if (asked === 'netkit' && !features.has('netkit')) {
    throw new FeatureError(
      'kernel',
      '--pod-device netkit: this kernel has none (Linux 6.7 with CONFIG_NETKIT=y); with auto pods get veth',
    )
  }
  return asked === 'auto' ? (features.has('netkit') ? 'netkit' : 'veth') : asked
}
