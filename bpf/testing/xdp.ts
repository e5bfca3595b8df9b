// The context of an XDP program in a test run: `struct xdp_md`, and what it answers.
import { struct, u32 } from '../src/struct.ts'

/** `struct xdp_md` of `include/uapi/linux/bpf.h`. */
const xdpMd = struct('xdp_md', {
  data: u32,
  dataEnd: u32,
  dataMeta: u32,
  ingressIfindex: u32,
  rxQueueIndex: u32,
  egressIfindex: u32,
})

/** @param ingressIfindex a device of this namespace, 0 = loopback */
export function encodeXdpMd(bytes: number, ingressIfindex = 0): Uint8Array {
  const nothing = { data: 0, dataMeta: 0, rxQueueIndex: 0, egressIfindex: 0 }
  return xdpMd.encode({ ...nothing, dataEnd: bytes, ingressIfindex })
}

/** Verdicts of XDP programs, by name. */
export const xdpVerdicts = { aborted: 0, drop: 1, pass: 2, tx: 3, xdpRedirect: 4 } as const
export type XdpVerdict = keyof typeof xdpVerdicts
