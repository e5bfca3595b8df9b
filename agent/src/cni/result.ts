// The answer to ADD: what was built, in the shape of CNI 1.1.0. Pure; the executable converts it to older versions.
import type { CniInterface, CniIp, CniResult, CniRoute } from '@sinabro/cni/wire'
import type { PodRow } from '../pods/rows.ts'

/** Indices into `interfaces`: the host's end first, then the container's, which all addresses point to. */
const CONTAINER_END = 1

/** @param sandbox the path of the network namespace exactly as the caller wrote it */
export function computeResult(pod: PodRow, sandbox: string): CniResult {
  const interfaces: CniInterface[] = [
    { name: pod.hostDevice, mac: pod.hostMac, mtu: pod.mtu },
    { name: pod.ifname, mac: pod.podMac, mtu: pod.mtu, sandbox },
  ]
  const ips: CniIp[] = pod.addresses.map(({ address, prefixLen, gateway }) => ({
    address: `${address}/${prefixLen}`,
    gateway,
    interface: CONTAINER_END,
  }))
  const routes: CniRoute[] = pod.addresses.map(({ family, gateway }) => ({
    dst: family === 4 ? '0.0.0.0/0' : '::/0',
    gw: gateway,
  }))
  return { interfaces, ips, routes }
}
