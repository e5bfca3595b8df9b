// Which eBPF objects exist and where they lie: built in bpf/build, or shipped in the library folder.
import { existsSync } from 'node:fs'
import { join } from 'node:path'

export const OBJECTS = [
  'from_pod',
  'to_pod',
  'from_overlay',
  'to_overlay',
  'from_uplink',
  'from_uplink_l3',
  'to_uplink',
  'to_uplink_l3',
  'xdp_uplink',
  'sweep',
  'sockets',
  'stale_sockets',
] as const
export type ObjectName = (typeof OBJECTS)[number]

/** The file of an object; whether it is there shows when it is opened. */
export function objectPath(name: ObjectName): string {
  const libDir = process.env.SINABRO_LIB_DIR
  if (libDir !== undefined) {
    const shipped = join(libDir, `${name}.bpf.o`)
    if (existsSync(shipped)) return shipped
  }
  return new URL(`../build/${name}.bpf.o`, import.meta.url).pathname
}
