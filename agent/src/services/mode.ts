// Who serves Services on this node.

export type ServicesMode = 'ebpf' | 'none'
