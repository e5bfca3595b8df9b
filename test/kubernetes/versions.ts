// The versions of what the test cluster runs. A new one is a line here and `go mod tidy` in go/.
import { homedir } from 'node:os'
import { join } from 'node:path'

export const KUBERNETES_VERSION = '1.34.4'
export const CONTAINERD_VERSION = '2.1.9'
/** etcd's go.mod asks for it; an older `go` would download another toolchain or fail. */
export const GO_VERSION_NEEDED = '1.26'

/** Binaries and images of one Kubernetes version: outside the tree, so that a clean clone finds them. */
export const CACHE = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
  'sinabro',
  `kubernetes-${KUBERNETES_VERSION}`,
)
export const BINARIES = join(CACHE, 'bin')
export const IMAGES = join(CACHE, 'images')
