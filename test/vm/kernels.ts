// The kernels we promise to run on and do not have at hand: Debian packages, found by pattern because updates rename them.
export interface Kernel {
  readonly name: string
  /** Matches the plain package; not the real-time and cloud ones. */
  readonly packages: RegExp
}

export const KERNELS: readonly Kernel[] = [
  // The oldest we support: no tcx, and the smallest verifier.
  { name: '6.1', packages: /^linux-image-6\.1\.0-[0-9]+-amd64-unsigned$/ },
  { name: '6.12', packages: /^linux-image-6\.12\.[0-9]+\+deb12-amd64-unsigned$/ },
]
