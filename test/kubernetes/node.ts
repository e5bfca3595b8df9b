// One node of the cluster: containerd, kubelet and, if asked for, kube-proxy on a machine, their configurations, and their ends and returns.
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { eventually } from '../lab/eventually.ts'
import { Daemon } from './daemon.ts'
import { containerdConfig, kubeletConfig, kubeProxyConfig } from './node-config.ts'
import { NodeMachine } from './node-machine.ts'
import { kubeconfig } from './pki.ts'
import { type NetworkPlan, nodeAddresses } from './places.ts'
import { BINARIES } from './versions.ts'

export type ContainerdChoice = 'debian' | '2'
/** Of kube-proxy; none: services are somebody else's. */
export type ProxyMode = 'none' | 'nftables' | 'iptables'

export interface NodeSettings {
  readonly name: string
  readonly number: number
  readonly containerd: ContainerdChoice
  readonly proxyMode: ProxyMode
}

const PORTMAP = 'opt/cni/bin/portmap'
const SOCKET = '/run/containerd/containerd.sock'
const IMPORT_TIMEOUT_MS = 180_000

export class ClusterNode {
  readonly settings: NodeSettings
  readonly addresses: readonly string[]
  readonly #plan: NetworkPlan
  #machine: NodeMachine

  constructor(settings: NodeSettings, plan: NetworkPlan, machine: NodeMachine) {
    this.settings = settings
    this.#plan = plan
    this.#machine = machine
    this.addresses = nodeAddresses(settings.number, plan.families).map(({ address }) => address)
  }

  get name(): string {
    return this.settings.name
  }

  get machine(): NodeMachine {
    return this.#machine
  }

  get kubelet(): Daemon {
    return this.kubeletAt(this.addresses)
  }

  /** With other addresses than the node was given; it must have them. */
  kubeletAt(addresses: readonly string[]): Daemon {
    return new Daemon(this.machine, [
      join(BINARIES, 'kubelet'),
      ...['--config', this.#file('kubelet.json'), '--kubeconfig', kubeconfig(this.name)],
      ...['--hostname-override', this.name, '--node-ip', addresses.join(','), '--v=2'],
      // A zone of its own: specs of what stays in a zone want three.
      ...['--node-labels', `topology.kubernetes.io/zone=zone${this.settings.number}`],
    ])
  }

  get kubeProxy(): Daemon | undefined {
    if (this.settings.proxyMode === 'none') return undefined
    return new Daemon(this.machine, [
      ...[join(BINARIES, 'kube-proxy'), '--config', this.#file('kube-proxy.json'), '--v=2'],
    ])
  }

  get containerd(): Daemon {
    const directory = this.#containerdDirectory
    const PATH = `${directory}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`
    return new Daemon(
      this.machine,
      [join(directory, 'containerd'), '--config', this.#file('containerd.toml')],
      { PATH },
    )
  }

  /** Containerd with these images; needs no API server yet. */
  async prepare(images: readonly string[]): Promise<void> {
    this.#configure()
    this.containerd.start()
    await this.waitContainerd()
    await this.importImages(images)
  }

  startKubernetes(): void {
    this.kubelet.start()
    this.kubeProxy?.start()
  }

  async waitContainerd(): Promise<void> {
    await eventually(`containerd of ${this.name} (${this.containerd.logFile})`, async () => {
      const { status } = await this.ctr(['version'], { canFail: true })
      return status === 0 || undefined
    })
  }

  async importImages(archives: readonly string[]): Promise<void> {
    for (const archive of archives) {
      await this.ctr(['--namespace', 'k8s.io', 'images', 'import', archive], {
        timeoutMs: IMPORT_TIMEOUT_MS,
      })
    }
  }

  ctr(args: readonly string[], options: { canFail?: boolean; timeoutMs?: number } = {}) {
    return this.machine.exec([join(this.#containerdDirectory, 'ctr'), ...args], options)
  }

  /** After the machine ended: fresh namespaces with the disk it had; the caller plugs it in and starts it. */
  async boot(): Promise<void> {
    this.#machine = await NodeMachine.bootNode(this.name, this.#machine.cgroups)
  }

  get #containerdDirectory(): string {
    return this.settings.containerd === '2' ? join(BINARIES, 'containerd-2') : '/usr/bin'
  }

  #file(name: string): string {
    return join(this.machine.places.dir, 'config', name)
  }

  #configure(): void {
    const { proxyMode, containerd } = this.settings
    const resolv = this.#file('resolv.conf')
    mkdirSync(dirname(resolv), { recursive: true })
    // Nobody answers there: what the cluster's DNS does not know stays unknown.
    writeFileSync(resolv, `nameserver ${this.#plan.outsideAddresses[0]}\n`)
    writeFileSync(this.#file('containerd.toml'), containerdConfig(containerd, SOCKET))
    const kubelet = kubeletConfig({
      socket: SOCKET,
      resolv,
      plan: this.#plan,
      isCgroup1: !existsSync('/sys/fs/cgroup/cgroup.controllers'),
    })
    writeFileSync(this.#file('kubelet.json'), JSON.stringify(kubelet, null, 2))
    if (containerd === '2') {
      const portmap = this.machine.onDisk(PORTMAP)
      mkdirSync(dirname(portmap), { recursive: true })
      copyFileSync(join(BINARIES, 'cni/portmap'), portmap)
    }
    if (proxyMode === 'none') return
    const proxy = kubeProxyConfig({ node: this.name, mode: proxyMode, plan: this.#plan })
    writeFileSync(this.#file('kube-proxy.json'), JSON.stringify(proxy, null, 2))
  }
}
