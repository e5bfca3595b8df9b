// What BPF_OBJ_GET_INFO_BY_FD says about maps, programs and links, and the kernel's names for their types.
import { check } from './error.ts'
import { native } from './native.ts'
import { bytes, pad, type Struct, struct, text, u32, u64 } from './struct.ts'

/** `struct bpf_map_info` of `include/uapi/linux/bpf.h`, as far as every kernel we run on has it. */
export const bpfMapInfo = struct('bpf_map_info', {
  type: u32,
  id: u32,
  keySize: u32,
  valueSize: u32,
  maxEntries: u32,
  mapFlags: u32,
  name: text(16),
})

/** `struct bpf_prog_info` up to `verified_insns` (Linux 5.16). */
export const bpfProgInfo = struct('bpf_prog_info', {
  type: u32,
  id: u32,
  tag: bytes(8),
  jitedProgLen: u32,
  xlatedProgLen: u32,
  jitedProgInsns: u64,
  xlatedProgInsns: u64,
  loadTime: u64,
  createdByUid: u32,
  nrMapIds: u32,
  mapIds: u64,
  name: text(16),
  /** Device, BTF, line information: not asked for. */
  unused: pad(112),
  runTimeNs: u64,
  runCnt: u64,
  recursionMisses: u64,
  verifiedInsns: u32,
  pad: pad(4),
})

/** `struct bpf_link_info`; what `member` holds depends on the type. */
export const bpfLinkInfo = struct('bpf_link_info', {
  type: u32,
  id: u32,
  progId: u32,
  pad: pad(4),
  member: bytes(16),
})

/** Its union member `tcx`, and `xdp`, which is only the head of it. */
export const bpfLinkInfoDevice = struct('bpf_link_info_device', {
  ifindex: u32,
  attachType: u32,
  unused: pad(8),
})

/** Its union member `cgroup`. */
export const bpfLinkInfoCgroup = struct('bpf_link_info_cgroup', {
  cgroupId: u64,
  attachType: u32,
  pad: pad(4),
})

/** Its union member `iter`: the name is not asked for. */
export const bpfLinkInfoIterator = struct('bpf_link_info_iter', {
  targetName: pad(12),
  mapId: u32,
})

export function infoOf<T>(fd: number, layout: Struct<T>): T {
  const buffer = new Uint8Array(layout.size)
  check(native().info(fd, buffer), `BPF_OBJ_GET_INFO_BY_FD ${layout.name}`)
  return layout.decode(buffer)
}

/** `enum bpf_map_type`, by number. */
const mapTypes = [
  'unspec',
  'hash',
  'array',
  'prog_array',
  'perf_event_array',
  'percpu_hash',
  'percpu_array',
  'stack_trace',
  'cgroup_array',
  'lru_hash',
  'lru_percpu_hash',
  'lpm_trie',
  'array_of_maps',
  'hash_of_maps',
  'devmap',
  'sockmap',
  'cpumap',
  'xskmap',
  'sockhash',
  'cgroup_storage',
  'reuseport_sockarray',
  'percpu_cgroup_storage',
  'queue',
  'stack',
  'sk_storage',
  'devmap_hash',
  'struct_ops',
  'ringbuf',
  'inode_storage',
  'task_storage',
  'bloom_filter',
  'user_ringbuf',
  'cgrp_storage',
  'arena',
] as const
export type MapType = (typeof mapTypes)[number] | 'unknown'

/** `enum bpf_prog_type`, by number. */
const programTypes = [
  'unspec',
  'socket_filter',
  'kprobe',
  'sched_cls',
  'sched_act',
  'tracepoint',
  'xdp',
  'perf_event',
  'cgroup_skb',
  'cgroup_sock',
  'lwt_in',
  'lwt_out',
  'lwt_xmit',
  'sock_ops',
  'sk_skb',
  'cgroup_device',
  'sk_msg',
  'raw_tracepoint',
  'cgroup_sock_addr',
  'lwt_seg6local',
  'lirc_mode2',
  'sk_reuseport',
  'flow_dissector',
  'cgroup_sysctl',
  'raw_tracepoint_writable',
  'cgroup_sockopt',
  'tracing',
  'struct_ops',
  'ext',
  'lsm',
  'sk_lookup',
  'syscall',
  'netfilter',
] as const
export type ProgramType = (typeof programTypes)[number] | 'unknown'

export function mapTypeName(type: number): MapType {
  return mapTypes[type] ?? 'unknown'
}

export function mapTypeNumber(type: Exclude<MapType, 'unknown'>): number {
  return mapTypes.indexOf(type)
}

export function programTypeNumber(type: Exclude<ProgramType, 'unknown'>): number {
  return programTypes.indexOf(type)
}

export function programTypeName(type: number): ProgramType {
  return programTypes[type] ?? 'unknown'
}
