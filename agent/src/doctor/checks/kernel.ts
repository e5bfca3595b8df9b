// What the kernel must have, tried in a network namespace that is gone right after.
import { statfsSync } from 'node:fs'
import { release } from 'node:os'
import { dirname } from 'node:path'
import { probeTcx } from '@sinabro/libbpf-ts'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import type { Check, Finding } from '../finding.ts'
import type { World } from '../world.ts'

/** `BPF_FS_MAGIC` of include/uapi/linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11
/** The oldest kernel that the programs are tested on. */
const OLDEST: readonly [number, number] = [6, 1]

export const kernelFeatures: Check<World> = {
  name: 'kernel features',
  async run(world) {
    return [
      ...versionFindings(release()),
      ...(await deviceFindings()),
      ...jitFindings(world),
      ...(world.file('/sys/kernel/btf/vmlinux') === undefined ? [noBtf] : []),
      ...tcxFindings(),
    ]
  },
}

export function versionFindings(text: string): Finding[] {
  const [major = 0, minor = 0] = text.split(/[.-]/).map(Number)
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return []
  return [
    {
      level: 'error',
      found: `the kernel is ${text}`,
      means: 'programs are written for 6.1 and newer; on an older one they may not load',
      do: 'use a newer kernel: Debian 12 has 6.1',
    },
  ]
}

const noBtf: Finding = {
  level: 'warning',
  found: 'there is no /sys/kernel/btf/vmlinux',
  means: 'the kernel was built without type information; error messages about programs say less',
  do: 'use a kernel with CONFIG_DEBUG_INFO_BTF=y; the distributions have it',
}

/** Each kind of device and hook that the agent makes, in a namespace of its own. */
async function deviceFindings(): Promise<Finding[]> {
  const findings: Finding[] = []
  const netns = NetworkNamespace.create()
  const netlink = RouteNetlink.open({ netns })
  try {
    const tries: readonly [string, string, () => Promise<unknown>][] = [
      [
        'veth devices',
        'CONFIG_VETH',
        () => netlink.links.add({ kind: 'veth', name: 'a', peer: { name: 'b' } }),
      ],
      [
        'VXLAN devices with tunnel keys',
        'CONFIG_VXLAN',
        () => netlink.links.add({ kind: 'vxlan', name: 'v', port: 8472, collectMetadata: true }),
      ],
      [
        'the clsact hook',
        'CONFIG_NET_CLS_ACT and CONFIG_NET_SCH_INGRESS',
        async () => {
          const lo = await netlink.links.get({ name: 'lo' })
          await netlink.qdiscs.replace({ index: lo?.index ?? 1, kind: 'clsact' })
        },
      ],
    ]
    for (const [what, option, attempt] of tries) {
      try {
        await attempt()
      } catch (error) {
        findings.push({
          level: 'error',
          found: `the kernel refuses ${what}: ${error instanceof Error ? error.message : error}`,
          means: 'no pod can be given a network',
          do: `load the module, or use a kernel with ${option}`,
        })
      }
    }
  } finally {
    netlink.close()
    netns.close()
  }
  return findings
}

function jitFindings(world: World): Finding[] {
  const value = world.settings.read('core/bpf_jit_enable')
  if (value === undefined || value !== '0') return []
  return [
    {
      level: 'warning',
      found: 'net.core.bpf_jit_enable is 0',
      means: 'programs are interpreted: every packet costs several times as much',
      do: 'sysctl -w net.core.bpf_jit_enable=1',
    },
  ]
}

/** clsact does what tcx does; nothing is wrong without. */
function tcxFindings(): Finding[] {
  try {
    probeTcx()
    return []
  } catch (error) {
    return [
      {
        level: 'error',
        found: `the kernel refuses eBPF: ${error instanceof Error ? error.message : error}`,
        means: 'no program can be loaded or attached',
        do: 'run as root; in a container with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or privileged',
      },
    ]
  }
}

export const bpfFileSystem: Check<World> = {
  name: 'bpf file system',
  run({ config }) {
    for (let folder = config.bpfDir; ; folder = dirname(folder)) {
      try {
        if (statfsSync(folder).type === BPF_FS_MAGIC) return []
      } catch (error) {
        if (isAbsent(error) && folder !== '/') continue
        throw error
      }
      return [
        {
          level: 'error',
          found: `${config.bpfDir} is not on a bpf file system`,
          means: 'programs and maps cannot be pinned, so they would end with the agent',
          do: 'mount -t bpf bpf /sys/fs/bpf, and let the system do so at boot (systemd does)',
        },
      ]
    }
  },
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
