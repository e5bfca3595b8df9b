// What the kernel must have (features/), and be told.
import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { FeatureError } from '../../features/features.ts'
import type { Check, Finding } from '../finding.ts'
import type { World } from '../world.ts'

/** `BPF_FS_MAGIC` of include/uapi/linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11
export const kernelFeatures: Check<World> = {
  name: 'kernel features',
  async run(world) {
    return [...(await featureFindings(world)), ...jitFindings(world)]
  },
}

async function featureFindings(world: World): Promise<Finding[]> {
  try {
    const features = await world.features()
    features.require()
    return []
  } catch (error) {
    if (!(error instanceof FeatureError)) throw error
    return [error.code === 'kernel' ? lacking(error) : refused(error)]
  }
}

function lacking({ message }: FeatureError): Finding {
  return {
    level: 'error',
    found: message,
    means: 'the agent does not start on it',
    do: 'load the module that is missing, or use a newer kernel: Debian 12 has 6.1',
  }
}

function refused({ message, cause }: FeatureError): Finding {
  return {
    level: 'error',
    found: `${message} (${cause instanceof Error ? cause.message : cause})`,
    means: 'no program can be loaded or attached',
    do: 'run as root; in a container with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or privileged',
  }
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
