// What is in the image: the lists that the builder and the Dockerfile share. Libraries are not here: ldd knows them.

export interface Item {
  /** Relative to the tree, or absolute where it comes from a Debian package of this machine. */
  readonly from: string
  /** In the image. */
  readonly to: string
  readonly isExecutable?: boolean
}

/** Everything that starts `sinabro` needs, below here; the launcher has the name too. */
const PLACE = '/usr/lib/sinabro'

/** Changes with each version of ours. */
export const OWN: readonly Item[] = [
  { from: 'agent/build/sinabro.mjs', to: `${PLACE}/sinabro.mjs` },
  { from: 'agent/build/lib/kubeconfig.mjs', to: `${PLACE}/lib/kubeconfig.mjs` },
  { from: 'agent/build/lib/maglev-worker.mjs', to: `${PLACE}/lib/maglev-worker.mjs` },
  { from: 'agent/build/lib/netlink.node', to: `${PLACE}/lib/netlink.node` },
  { from: 'agent/build/lib/libbpf.node', to: `${PLACE}/lib/libbpf.node` },
  { from: 'agent/build/lib/sinabro-cni', to: `${PLACE}/lib/sinabro-cni`, isExecutable: true },
  { from: 'deploy/image/build/sinabro', to: '/usr/bin/sinabro', isExecutable: true },
  { from: 'deploy/image/build/sinabro-probe', to: '/usr/bin/sinabro-probe', isExecutable: true },
  {
    from: 'deploy/image/build/sinabro-mount-bpffs',
    to: '/usr/bin/sinabro-mount-bpffs',
    isExecutable: true,
  },
  { from: 'LICENSE', to: '/usr/share/doc/sinabro/LICENSE' },
]

/** All that is built of these; there are as many as there are programs. */
export const OBJECTS = { pattern: 'agent/build/lib/*.bpf.o', to: `${PLACE}/lib` }

/** Changes with Node and with Debian: a layer of its own, which an upgrade of ours does not fetch again. */
export const FOREIGN: readonly Item[] = [
  { from: 'node_modules/node/bin/node', to: `${PLACE}/node`, isExecutable: true },
  // Masquerade rules are handed to it on standard input.
  { from: '/usr/sbin/nft', to: '/usr/sbin/nft', isExecutable: true },
  // Installed on nodes that have none: the runtime calls the first itself, the second is chained behind us.
  { from: '/usr/lib/cni/loopback', to: `${PLACE}/lib/loopback`, isExecutable: true },
  { from: '/usr/lib/cni/portmap', to: `${PLACE}/lib/portmap`, isExecutable: true },
]

/** Whose shared libraries come along. The two plug-ins run on the node, with the node's own C library. */
export const LINKED: readonly string[] = [
  'node_modules/node/bin/node',
  'agent/build/lib/netlink.node',
  'agent/build/lib/libbpf.node',
  '/usr/sbin/nft',
]

/** Small programs for an image without a shell; static, so that they need nothing. */
export const NATIVE: readonly { readonly source: string; readonly name: string }[] = [
  { source: 'launcher.c', name: 'sinabro' },
  { source: 'probe.c', name: 'sinabro-probe' },
  { source: 'mount-bpffs.c', name: 'sinabro-mount-bpffs' },
]

/** Files that are there for what they say. */
export const WRITTEN: Readonly<Record<string, string>> = {
  '/etc/passwd': 'root:x:0:0:root:/:/sbin/nologin\n',
  '/etc/group': 'root:x:0:\n',
}

/** Where the runtime mounts something, or a program wants a place. */
export const FOLDERS: readonly string[] = ['dev', 'proc', 'run', 'sys', 'tmp', 'var/lib']
