// The context of a tc program in a test run: `struct __sk_buff`, of which the kernel takes a few fields in and gives all out.
import { array, type Infer, pad, struct, u8, u32, u64 } from '../src/struct.ts'

/** `struct __sk_buff` of `include/uapi/linux/bpf.h`. */
export const skBuff = struct('__sk_buff', {
  len: u32,
  pktType: u32,
  mark: u32,
  queueMapping: u32,
  protocol: u32,
  vlanPresent: u32,
  vlanTci: u32,
  vlanProto: u32,
  priority: u32,
  ingressIfindex: u32,
  ifindex: u32,
  tcIndex: u32,
  cb: array(u32, 5),
  hash: u32,
  tcClassid: u32,
  data: u32,
  dataEnd: u32,
  napiId: u32,
  family: u32,
  remoteIp4: u32,
  localIp4: u32,
  remoteIp6: array(u32, 4),
  localIp6: array(u32, 4),
  remotePort: u32,
  localPort: u32,
  dataMeta: u32,
  flowKeys: u64,
  tstamp: u64,
  wireLen: u32,
  gsoSegs: u32,
  sk: u64,
  gsoSize: u32,
  tstampType: u8,
  pad: pad(3),
  hwtstamp: u64,
})
export type SkBuff = Infer<typeof skBuff>

/** What BPF_PROG_TEST_RUN takes from the caller; `ifindex` must be a device of this namespace, 0 = loopback. */
export type SkBuffIn = Partial<
  Pick<
    SkBuff,
    | 'mark'
    | 'priority'
    | 'ingressIfindex'
    | 'ifindex'
    | 'cb'
    | 'tstamp'
    | 'wireLen'
    | 'gsoSegs'
    | 'gsoSize'
  >
>

const nothing = skBuff.decode(new Uint8Array(skBuff.size))

export function encodeSkBuff(fields: SkBuffIn): Uint8Array {
  return skBuff.encode({ ...nothing, ...fields })
}

/** Verdicts of tc programs, by name. `TCX_NEXT` is `TC_ACT_UNSPEC`. */
export const verdicts = { next: -1, ok: 0, shot: 2, redirect: 7 } as const
export type Verdict = keyof typeof verdicts

export function verdictName(
  retval: number,
  names: Readonly<Record<string, number>> = verdicts,
): string {
  const found = Object.entries(names).find(([, number]) => number === retval)
  return found?.[0] ?? String(retval)
}
