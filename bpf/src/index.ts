// The public API of @sinabro/libbpf-ts; layouts of our own maps are under '@sinabro/libbpf-ts/layouts'.
export type { CgroupHook, Direction, SocketHook } from './attach-type.ts'
export type { AttachedProgram } from './attached.ts'
export { type CgroupPlace, cgroupId, listCgroup, listCgroupEffective } from './cgroup.ts'
export { CgroupAttachment, type CgroupAttachmentPlace } from './cgroup-attachment.ts'
export { BpfError, type BpfErrorCode, errnoName } from './error.ts'
export { BpfIterator } from './iterator.ts'
export type { MapType, ProgramType } from './kernel-info.ts'
export { BpfLink, type LinkInfo, type XdpMode, type XdpPlace } from './link.ts'
export { BpfMap } from './map.ts'
export type { MapInfo, MapSpec, Row, UpdateMode } from './map-info.ts'
export { pretendNoBatch } from './native.ts'
export { BpfObject, type OpenOptions } from './object.ts'
export { OBJECTS, type ObjectName, objectPath } from './objects.ts'
export { possibleCpus } from './per-cpu.ts'
export { unpin } from './pin.ts'
export {
  type Helper,
  probeBatch,
  probeChecksumIpv6,
  probeFibSource,
  probeHelper,
  probeLoading,
  probeNetkit,
  probeRingBuffer,
  probeTunnelLocal,
} from './probe.ts'
export { BpfProgram, type TestRunOptions, type TestRunResult } from './program.ts'
export { RingBuffer, type RingLosses, type RingOptions } from './ring.ts'
export { RunMeasuring, type RunStatistics } from './run-statistics.ts'
export { SocketMapAttachment, type SocketMapHook } from './socket-map.ts'
export {
  addr,
  array,
  be16,
  be32,
  bytes,
  type Codec,
  codec,
  type Field,
  type Infer,
  mac,
  type Pad,
  pad,
  type Struct,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
} from './struct.ts'
export {
  type TcAttached,
  TcAttachment,
  type TcAttachOptions,
  type TcHook,
  type TcMode,
} from './tc.ts'
export { listNetkit, listTcx, type Namespace, probeTcx, type TcxPlace } from './tcx.ts'
export { TypedMap, TypedPerCpuMap } from './typed-map.ts'
export { type XdpAttached, XdpAttachment, type XdpAttachOptions, type XdpHook } from './xdp.ts'
