// What the kernel charges for the maps of services, as it says itself of each.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BpfMap } from '@sinabro/libbpf-ts'
import { LAYOUT_VERSION } from '@sinabro/libbpf-ts/layouts'
import type { Machine } from '../lab/index.ts'

const OF_SERVICES =
  /^sb_(services|slots|backends|src_ranges|affinity|maglev|node_addrs|svc_config|sock)/

/** MiB. */
export function mapMemory(machine: Machine): number {
  const folder = machine.pathOnHost(`/sys/fs/bpf/sinabro/v${LAYOUT_VERSION}/maps`)
  let bytes = 0
  for (const name of readdirSync(folder).filter((one) => OF_SERVICES.test(one))) {
    const map = BpfMap.openPinned(join(folder, name))
    try {
      const info = readFileSync(`/proc/self/fdinfo/${map.fd}`, 'utf8')
      bytes += Number(/^memlock:\s+(\d+)$/m.exec(info)?.[1] ?? 0)
    } finally {
      map.close()
    }
  }
  return bytes / (1 << 20)
}
