// Configurations of containerd, kubelet and kube-proxy for a node that is a set of namespaces. Pure.
import { join } from 'node:path'
import { kubeconfig } from './pki.ts'
import { type NetworkPlan, PKI } from './places.ts'

export const PAUSE_IMAGE = 'registry.k8s.io/pause:3.10.1'
const CNI_CONF_DIR = '/etc/cni/net.d'
const CNI_BIN_DIR = '/opt/cni/bin'

export function containerdConfig(version: 'debian' | '2', socket: string): string {
  return version === '2' ? containerd2Config(socket) : containerd1Config(socket)
}

// restrict_oom_score_adj: without CAP_SYS_RESOURCE runc could not lower it and would end in the middle of a start.
function containerd1Config(socket: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"'
  return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "${socket}"
[${cri}]
  restrict_oom_score_adj = true
  sandbox_image = "${PAUSE_IMAGE}"
[${cri}.containerd]
  snapshotter = "overlayfs"
[${cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[${cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
[${cri}.cni]
  bin_dir = "${CNI_BIN_DIR}"
  conf_dir = "${CNI_CONF_DIR}"
`
}

function containerd2Config(socket: string): string {
  const images = "plugins.'io.containerd.cri.v1.images'"
  const runtime = "plugins.'io.containerd.cri.v1.runtime'"
  return `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "${socket}"
[${images}]
  snapshotter = "overlayfs"
[${images}.pinned_images]
  sandbox = "${PAUSE_IMAGE}"
[${runtime}]
  restrict_oom_score_adj = true
[${runtime}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[${runtime}.containerd.runtimes.runc.options]
  SystemdCgroup = false
[${runtime}.cni]
  bin_dir = "${CNI_BIN_DIR}"
  conf_dir = "${CNI_CONF_DIR}"
`
}

export function kubeletConfig(node: {
  readonly socket: string
  readonly resolv: string
  readonly plan: NetworkPlan
  readonly isCgroup1: boolean
}): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(PKI, 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    cgroupDriver: 'cgroupfs',
    ...(node.isCgroup1 ? { failCgroupV1: false } : {}),
    failSwapOn: false,
    clusterDomain: 'cluster.local',
    clusterDNS: [node.plan.dnsService],
    containerRuntimeEndpoint: `unix://${node.socket}`,
    resolvConf: node.resolv,
    // The disk and memory are everybody's here: a full one must not evict pods.
    evictionHard: {
      'memory.available': '100Mi',
      'nodefs.available': '0%',
      'nodefs.inodesFree': '0%',
      'imagefs.available': '0%',
    },
    imageGCHighThresholdPercent: 100,
    nodeStatusUpdateFrequency: '10s',
    syncFrequency: '10s',
    maxPods: 150,
  }
}

export function kubeProxyConfig(node: {
  readonly node: string
  readonly mode: 'nftables' | 'iptables'
  readonly plan: NetworkPlan
}): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig: kubeconfig('kube-proxy') },
    mode: node.mode,
    clusterCIDR: node.plan.podRanges.join(','),
    hostnameOverride: node.node,
    // nf_conntrack_max is read-only outside the first network namespace; its TCP timeouts are checked by a spec.
    conntrack: { maxPerCore: 0, min: 0 },
  }
}
