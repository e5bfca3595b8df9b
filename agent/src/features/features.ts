// What this kernel has, tried once when the agent starts: every choice between two ways asks here, and nobody asks the version (ADR 0055).
import { release } from 'node:os'
import { probeLoading } from '@sinabro/libbpf-ts'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { PROBES } from './probes.ts'
import { describeFeature, FEATURE_NAMES, type FeatureName } from './table.ts'

/** The kernel cannot do what there is no other way for. */
export class FeatureError extends Error {
  override readonly name = 'FeatureError'
  readonly code: 'kernel' | 'bpf-refused'

  constructor(code: 'kernel' | 'bpf-refused', message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export interface FeatureView {
  readonly feature: FeatureName
  /** 'off': it is there and `--without-features` says to do as if not. */
  readonly present: 'yes' | 'no' | 'off'
  readonly used: boolean
  readonly use: string
  readonly without: string
}

export class Features {
  readonly #present: ReadonlySet<FeatureName>
  readonly #switchedOff: ReadonlySet<FeatureName>
  readonly tookMs: number

  constructor(present: Iterable<FeatureName>, switchedOff: Iterable<FeatureName> = [], tookMs = 0) {
    this.#present = new Set(present)
    this.#switchedOff = new Set(switchedOff)
    this.tookMs = tookMs
  }

  has(name: FeatureName): boolean {
    return this.#present.has(name) && !this.#switchedOff.has(name)
  }

  /** @throws FeatureError kernel, in one sentence */
  require(): void {
    const missing = FEATURE_NAMES.filter((name) => {
      return describeFeature(name).isRequired === true && !this.has(name)
    })
    if (missing.length === 0) return
    throw new FeatureError(
      'kernel',
      `this kernel (${release()}) lacks ${missing.join(', ')}, which there is no other way for: ` +
        "use Linux 6.1 or newer with the options of the distributions' kernels",
    )
  }

  /**
   * @param unused those that a setting keeps from being used
   * @param details of what they are used for, on this node
   */
  view(
    unused: Iterable<FeatureName> = [],
    details: Readonly<Partial<Record<FeatureName, string>>> = {},
  ): FeatureView[] {
    const idle = new Set(unused)
    return FEATURE_NAMES.map((feature) => {
      const { use, without } = describeFeature(feature)
      const isHere = this.#present.has(feature)
      const isOff = this.#switchedOff.has(feature)
      const detail = details[feature]
      return {
        feature,
        present: isHere ? (isOff ? 'off' : 'yes') : 'no',
        used: use !== undefined && this.has(feature) && !idle.has(feature),
        use: detail === undefined ? (use ?? 'nothing yet') : `${use}: ${detail}`,
        without,
      }
    })
  }
}

/**
 * Tries everything. Takes tens of milliseconds at most, and leaves nothing behind.
 * @throws FeatureError bpf-refused
 */
export async function probeFeatures(switchedOff: Iterable<FeatureName> = []): Promise<Features> {
  const startedAt = performance.now()
  try {
    probeLoading()
  } catch (cause) {
    throw new FeatureError(
      'bpf-refused',
      'the kernel refuses eBPF to this process: it takes root, and in a container CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON',
      { cause },
    )
  }
  const present: FeatureName[] = []
  const netns = NetworkNamespace.create()
  const netlink = RouteNetlink.open({ netns })
  try {
    for (const name of FEATURE_NAMES) {
      if (await PROBES[name](netlink)) present.push(name)
    }
  } finally {
    netlink.close()
    netns.close()
  }
  return new Features(present, switchedOff, performance.now() - startedAt)
}
