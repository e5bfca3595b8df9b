// The control plane: etcd, API server, controller manager, scheduler; kubectl and e2e.test run here too.
//
// It has files and processes of its own, and the network and cgroup of a node, as on a kubeadm cluster: the API server's proxy dials
// pods and services, and who is not in the pod network, or not where service addresses mean something, cannot.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../lab/command.ts'
import { eventually } from '../lab/eventually.ts'
import { Machine, type MachineState } from '../lab/machine.ts'
import { Daemon } from './daemon.ts'
import { kubeconfig } from './pki.ts'
import { ADMIN_CONFIG, CLUSTER_DIR, LOGS, type NetworkPlan, PKI } from './places.ts'
import { BINARIES } from './versions.ts'

const READY_DEADLINE_MS = 120_000
const KUBECTL_TIMEOUT_MS = 120_000
/** Where etcd keeps its state. */
export const ETCD_DATA = join(CLUSTER_DIR, 'etcd')
const pki = (file: string): string => join(PKI, file)
const binary = (name: string): string => join(BINARIES, name)

const ENTER = join(import.meta.dirname, '../lab/enter.sh')

export class ControlMachine extends Machine {
  readonly #network: Machine

  constructor(state: MachineState, network: Machine) {
    // Below the node's, whose programs then see its connections too.
    super({ ...state, cgroup: join(network.state.cgroup, state.name) })
    this.#network = network
  }

  override enter(argv: readonly string[], { cgroup = '' } = {}): string[] {
    const own = join(this.state.cgroup, cgroup)
    mkdirSync(own, { recursive: true })
    const netns = `/proc/${this.#network.state.init.pid}/ns/net`
    return ['sh', ENTER, own, String(this.state.init.pid), netns, ...argv]
  }
}

export class ControlPlane {
  readonly machine: Machine
  readonly etcd: Daemon
  readonly apiServer: Daemon
  readonly #controllers: readonly Daemon[]

  constructor(machine: Machine, plan: NetworkPlan) {
    this.machine = machine
    this.etcd = new Daemon(machine, etcdCommand())
    this.apiServer = new Daemon(machine, apiServerCommand(plan))
    this.#controllers = [
      new Daemon(machine, controllerManagerCommand(plan)),
      new Daemon(machine, [
        binary('kube-scheduler'),
        ...asUser('scheduler'),
        '--leader-elect=false',
      ]),
    ]
  }

  async start(): Promise<void> {
    this.etcd.start()
    this.apiServer.start()
    await this.waitReady()
    for (const daemon of this.#controllers) daemon.start()
  }

  /** Their caches are of the past after etcd was restored. */
  async restartControllers(): Promise<void> {
    for (const daemon of this.#controllers) await daemon.restart('SIGKILL')
  }

  waitReady(): Promise<true> {
    return eventually(
      `the API server to be ready (${LOGS})`,
      async () => {
        const { status } = await this.kubectl(['get', '--raw', '/readyz'], { canFail: true })
        return status === 0 || undefined
      },
      READY_DEADLINE_MS,
    )
  }

  /** The command line that runs kubectl as administrator. */
  kubectlCommand(args: readonly string[]): string[] {
    return this.machine.enter([
      binary('kubectl'),
      ...['--kubeconfig', ADMIN_CONFIG, '--cache-dir', join(CLUSTER_DIR, 'kubectl')],
      ...args,
    ])
  }

  kubectl(
    args: readonly string[],
    options: { input?: string; canFail?: boolean; timeoutMs?: number; signal?: AbortSignal } = {},
  ) {
    return run(this.kubectlCommand(args), { timeoutMs: KUBECTL_TIMEOUT_MS, ...options })
  }
}

function asUser(user: string): string[] {
  return ['', 'authentication-', 'authorization-'].map(
    (use) => `--${use}kubeconfig=${kubeconfig(user)}`,
  )
}

function etcdCommand(): string[] {
  const client = 'http://127.0.0.1:2379'
  const peer = 'http://127.0.0.1:2380'
  return [
    ...[binary('etcd'), '--name', 'control', '--data-dir', ETCD_DATA],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', `control=${peer}`, '--log-level', 'warn'],
    // Its disk is thrown away with the cluster.
    '--unsafe-no-fsync',
  ]
}

function apiServerCommand(plan: NetworkPlan): string[] {
  return [
    binary('kube-apiserver'),
    `--advertise-address=${plan.controlAddresses[0]}`,
    ...(plan.families === 'ipv6' ? ['--bind-address=::'] : []),
    '--secure-port=6443',
    '--etcd-servers=http://127.0.0.1:2379',
    `--service-cluster-ip-range=${plan.serviceRanges.join(',')}`,
    `--client-ca-file=${pki('ca.crt')}`,
    `--tls-cert-file=${pki('apiserver.crt')}`,
    `--tls-private-key-file=${pki('apiserver.key')}`,
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${pki('sa.pub')}`,
    `--service-account-signing-key-file=${pki('sa.key')}`,
    `--kubelet-client-certificate=${pki('apiserver-kubelet-client.crt')}`,
    `--kubelet-client-key=${pki('apiserver-kubelet-client.key')}`,
    '--kubelet-preferred-address-types=InternalIP',
    // The aggregation specs bring an API server of their own.
    `--requestheader-client-ca-file=${pki('front-proxy-ca.crt')}`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    `--proxy-client-cert-file=${pki('front-proxy-client.crt')}`,
    `--proxy-client-key-file=${pki('front-proxy-client.key')}`,
    '--enable-aggregator-routing=true',
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    `--cert-dir=${join(CLUSTER_DIR, 'apiserver')}`,
  ]
}

function controllerManagerCommand(plan: NetworkPlan): string[] {
  return [
    binary('kube-controller-manager'),
    ...asUser('controller-manager'),
    '--allocate-node-cidrs=true',
    `--cluster-cidr=${plan.podRanges.join(',')}`,
    `--service-cluster-ip-range=${plan.serviceRanges.join(',')}`,
    `--cluster-signing-cert-file=${pki('ca.crt')}`,
    `--cluster-signing-key-file=${pki('ca.key')}`,
    `--root-ca-file=${pki('ca.crt')}`,
    `--service-account-private-key-file=${pki('sa.key')}`,
    '--use-service-account-credentials=true',
    '--leader-elect=false',
    '--node-monitor-grace-period=50s',
  ]
}
