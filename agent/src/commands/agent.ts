// The command `sinabro agent`: every setting of the daemon, with its default and its name in the environment.
import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { type AgentConfig, EXIT, type HostPort, type Request, type Source } from '../config.ts'
import { useLibDir } from '../runtime/lib-dir.ts'
import { LOG_LEVELS } from '../runtime/log.ts'
import {
  bpfDirOption,
  cniBinDirOption,
  cniConfDirOption,
  directory,
  type ParsedSource,
  parseCrashAt,
  parseFeatures,
  parseListenAddress,
  parseLoopback,
  parseLoopbackOrNone,
  parseMasqueradePorts,
  parseNodePortAddresses,
  parseRanges,
  parseReservedPorts,
  parseServers,
  parseSource,
  runDirOption,
  serviceServer,
  stateDirOption,
  tunnelPortOption,
  vniOption,
  wholeNumber,
} from './options.ts'

const HELP = `
Example: two nodes described in one directory, this machine being node-1
  mkdir -p /etc/sinabro/cluster
  cat > /etc/sinabro/cluster/nodes.yaml <<EOF
  apiVersion: v1
  kind: Node
  metadata: { name: node-1 }
  spec: { podCIDRs: [10.244.1.0/24, "fd00:244:1::/64"] }
  status: { addresses: [{ type: InternalIP, address: 192.0.2.1 }] }
  ---
  apiVersion: v1
  kind: Node
  metadata: { name: node-2 }
  spec: { podCIDRs: [10.244.2.0/24, "fd00:244:2::/64"] }
  status: { addresses: [{ type: InternalIP, address: 192.0.2.2 }] }
  EOF
  sinabro agent --source manifests:/etc/sinabro/cluster --node-name node-1

It needs root. It may be stopped, killed and started again at any time: pods keep their network meanwhile.
Once it is ready ('sinabro status') the container runtime finds its configuration in --cni-conf-dir.`

const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount'

const NO_SERVER =
  "error: --source kubernetes outside of a pod needs '--kubernetes-api https://HOST:PORT' or '--kubeconfig FILE'"

type AgentOptions = Omit<
  AgentConfig,
  'tunnelFamily' | 'source' | 'cleanKubeProxy' | 'healthzAddress' | 'proxyModeAddress'
> & {
  readonly source: ParsedSource
  readonly healthzBindAddress: HostPort | 'none'
  readonly proxyModeAddress: HostPort | 'none'
  readonly cleanKubeProxy: 'yes' | 'no'
  readonly kubernetesApi: readonly string[]
  readonly serviceAccountDir: string
  readonly kubeconfig?: string
  readonly tunnelFamily: 'auto' | '4' | '6'
  readonly libDir: string | undefined
  /** Its files have become flags by now. */
  readonly configDir?: string
}

export function addAgentCommand(program: Command, ask: (request: Request) => void): void {
  program
    .command('agent')
    .description('run the agent of this node in the foreground')
    .addOption(
      new Option(
        '--source <kind>',
        'where the Kubernetes objects come from: kubernetes, or manifests:DIR',
      )
        .env('SINABRO_SOURCE')
        .argParser(parseSource)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--kubernetes-api <urls>', 'API servers, comma separated: https://HOST:PORT')
        .env('SINABRO_KUBERNETES_API')
        .argParser(parseServers)
        .default([], 'the one that Kubernetes names to pods, which is asked last'),
    )
    .addOption(
      new Option('--service-account-dir <dir>', 'where the token and ca.crt for the API server are')
        .env('SINABRO_SERVICE_ACCOUNT_DIR')
        .argParser(directory)
        .default(SERVICE_ACCOUNT_DIR, 'where pods have them'),
    )
    .addOption(
      new Option(
        '--kubeconfig <file>',
        'who to be for the API server, instead of the service account',
      )
        .env('SINABRO_KUBECONFIG')
        .argParser(directory),
    )
    .addOption(
      new Option('--node-name <name>', 'name of the Node object that is this machine')
        .env('SINABRO_NODE_NAME')
        .default(hostname().toLowerCase(), 'the host name in lower case'),
    )
    .addOption(stateDirOption())
    .addOption(runDirOption())
    .addOption(bpfDirOption())
    .addOption(cniConfDirOption())
    .addOption(cniBinDirOption())
    .addOption(
      new Option('--tunnel <mode>', 'how pods of different nodes reach each other')
        .env('SINABRO_TUNNEL')
        .choices(['bpf', 'kernel', 'none'])
        .default('bpf', 'bpf: VXLAN by our programs; kernel: VXLAN by its tables; none: routes'),
    )
    .addOption(tunnelPortOption())
    .addOption(vniOption())
    .addOption(
      new Option('--tunnel-family <family>', "which of the nodes' addresses the tunnel uses")
        .env('SINABRO_TUNNEL_FAMILY')
        .choices(['auto', '4', '6'])
        .default('auto', 'auto: that of the first InternalIP'),
    )
    .addOption(
      new Option('--cluster-cidrs <ranges>', 'pod ranges of the whole cluster, comma separated')
        .env('SINABRO_CLUSTER_CIDRS')
        .argParser(parseRanges)
        .default([], 'what the Node objects say'),
    )
    .addOption(
      new Option('--uplinks <devices>', 'devices that lead to other nodes and outside')
        .env('SINABRO_UPLINKS')
        .argParser((text: string) => text.split(',').filter((name) => name !== ''))
        .default([], 'those with a default route or an InternalIP of this node'),
    )
    .addOption(
      new Option('--attach <way>', 'how programs are attached to devices')
        .env('SINABRO_ATTACH')
        .choices(['auto', 'tcx', 'clsact'])
        .default('auto', 'auto: clsact on pods; elsewhere tcx where the kernel has it'),
    )
    .addOption(
      new Option('--cgroup-root <dir>', "the root of the node's cgroups, on cgroup2")
        .env('SINABRO_CGROUP_ROOT')
        .argParser(directory)
        .default(undefined, 'where cgroup2 is mounted'),
    )
    .addOption(
      new Option('--pod-device <kind>', 'what new pods hang on; those that are there keep theirs')
        .env('SINABRO_POD_DEVICE')
        .choices(['auto', 'veth', 'netkit'])
        .default('auto', 'auto: netkit where the kernel has it, else veth'),
    )
    .addOption(
      new Option(
        '--without-features <names>',
        "do as on a kernel without these, comma separated: names that 'sinabro doctor' shows",
      )
        .env('SINABRO_WITHOUT_FEATURES')
        .argParser(parseFeatures)
        .default([], 'none'),
    )
    .addOption(
      new Option(
        '--masquerade <way>',
        'how pods get out of the cluster under the address of the node',
      )
        .env('SINABRO_MASQUERADE')
        .choices(['ebpf', 'nftables', 'none'])
        .default('ebpf', "ebpf: by our programs; nftables: by the kernel's rules; none"),
    )
    .addOption(
      new Option('--masquerade-ports <first-last>', 'ports that masqueraded connections may get')
        .env('SINABRO_MASQUERADE_PORTS')
        .argParser(parseMasqueradePorts)
        .default({ first: 32_768, last: 65_535 }, '32768-65535'),
    )
    .addOption(
      new Option('--reserved-ports <ports>', 'those of them that none may get, comma separated')
        .env('SINABRO_RESERVED_PORTS')
        .argParser(parseReservedPorts)
        .default([], "the tunnel's and the kernel's ip_local_reserved_ports, which always count"),
    )
    .addOption(
      new Option('--non-masquerade-cidrs <ranges>', "destinations that see pods' own addresses")
        .env('SINABRO_NON_MASQUERADE_CIDRS')
        .argParser(parseRanges)
        .default([], 'the pod ranges of the cluster, which always do'),
    )
    .addOption(
      new Option('--services <way>', 'who serves Services and host ports')
        .env('SINABRO_SERVICES')
        .choices(['ebpf', 'none'])
        .default('none', 'ebpf: our programs, without kube-proxy; none: kube-proxy and portmap'),
    )
    .addOption(
      new Option(
        '--services-max <rows>',
        'addresses with ports that Services have at most; each Service takes one besides',
      )
        .env('SINABRO_SERVICES_MAX')
        .argParser(wholeNumber(1024, 1_048_576))
        .default(131_072),
    )
    .addOption(
      new Option(
        '--xdp <mode>',
        'with --services ebpf: clients outside and backends on other nodes, before the stack of the uplink',
      )
        .env('SINABRO_XDP')
        .choices(['off', 'generic', 'native'])
        .default('off', 'off; native where the driver can, generic for tests'),
    )
    .addOption(
      new Option(
        '--backend-choice <way>',
        'how what comes from outside gets a backend, where the annotation of its Service does not say it',
      )
        .env('SINABRO_BACKEND_CHOICE')
        .choices(['random', 'maglev'])
        .default('random', 'random: by chance; maglev: by consistent hashing, alike on all nodes'),
    )
    .addOption(
      new Option('--node-port-addresses <ranges>', 'addresses of the node that serve node ports')
        .env('SINABRO_NODE_PORT_ADDRESSES')
        .argParser(parseNodePortAddresses)
        .default('primary', 'primary: its InternalIPs; loopback always, for its own processes'),
    )
    .addOption(
      new Option(
        '--service-forwarding <way>',
        'how clients outside reach pods of the nodes that they did not ask',
      )
        .env('SINABRO_SERVICE_FORWARDING')
        .choices(['snat', 'dsr'])
        .default(
          'snat',
          "snat: in the asked node's name; dsr: as they are, and the pod's node answers them itself",
        ),
    )
    .addOption(
      new Option('--service-cidrs <ranges>', 'where the addresses of Services come from')
        .env('SINABRO_SERVICE_CIDRS')
        .argParser(parseRanges)
        .default([], 'each Service says its own'),
    )
    .addOption(
      new Option('--external-ip-cidrs <ranges>', 'where externalIPs of Services may come from')
        .env('SINABRO_EXTERNAL_IP_CIDRS')
        .argParser(parseRanges)
        .default([], 'nowhere: whoever may write Services could take any address'),
    )
    .addOption(
      new Option(
        '--healthz-bind-address <address>',
        'with --services ebpf: /healthz and /livez for load balancers, as kube-proxy has them; or none',
      )
        .env('SINABRO_HEALTHZ_BIND_ADDRESS')
        .argParser(parseListenAddress)
        .default({ host: '0.0.0.0', port: 10_256 }, '0.0.0.0:10256, all addresses of the node'),
    )
    .addOption(
      new Option(
        '--proxy-mode-address <address>',
        'with --services ebpf: /proxyMode, as kube-proxy has it: 127.0.0.1:PORT, [::1]:PORT or none',
      )
        .env('SINABRO_PROXY_MODE_ADDRESS')
        .argParser(parseLoopbackOrNone)
        .default({ host: '127.0.0.1', port: 10_249 }, '127.0.0.1:10249'),
    )
    .addOption(
      new Option(
        '--clean-kube-proxy <yes|no>',
        'with --services ebpf: remove the rules that kube-proxy has left, once ours are complete',
      )
        .env('SINABRO_CLEAN_KUBE_PROXY')
        .choices(['yes', 'no'])
        .default('no'),
    )
    .addOption(
      new Option('--flows-max <rows>', 'rows of the flow table when it is made, two a connection')
        .env('SINABRO_FLOWS_MAX')
        .argParser(wholeNumber(1024, 4_194_304))
        .default(undefined, 'one for 64 KiB of memory, 65536 to 524288'),
    )
    .addOption(
      new Option(
        '--reclaim-grace-sec <seconds>',
        'how long a pod that is gone without a DEL keeps its addresses',
      )
        .env('SINABRO_RECLAIM_GRACE_SEC')
        .argParser(wholeNumber(1, 86_400))
        .default(60),
    )
    .addOption(
      new Option(
        '--metrics-address <address>',
        'serve /metrics, /healthz and /readyz there too: 127.0.0.1:PORT or [::1]:PORT',
      )
        .env('SINABRO_METRICS_ADDRESS')
        .argParser(parseLoopback)
        .default(undefined, 'on the socket only'),
    )
    .addOption(
      new Option(
        '--config-dir <dir>',
        'a folder with a file for each setting, named like its flag: a mounted ConfigMap',
      ).env('SINABRO_CONFIG_DIR'),
    )
    .addOption(
      new Option('--lib-dir <dir>', 'where the addons, the eBPF objects and sinabro-cni are')
        .argParser(directory)
        .default(undefined, 'beside this program'),
    )
    .addOption(
      new Option('--log-level <level>', 'log lines below this are left out')
        .env('SINABRO_LOG_LEVEL')
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .addOption(
      new Option('--crash-at <point[:pass]>', 'end at a named point, for tests')
        .env('SINABRO_CRASH_AT')
        .argParser(parseCrashAt)
        .hideHelp(),
    )
    .addHelpText('after', HELP)
    .action((options: AgentOptions, command: Command) => {
      useLibDir(options.libDir)
      const {
        libDir: _,
        configDir: _read,
        tunnelFamily,
        kubernetesApi,
        serviceAccountDir,
        kubeconfig,
        healthzBindAddress,
        proxyModeAddress,
        cleanKubeProxy,
        ...config
      } = options
      const source = sourceOf(options, process.env)
      if (source === undefined) command.error(NO_SERVER, { exitCode: EXIT.usage })
      const reason = whyNoDsr(options)
      if (reason !== undefined) command.error(reason, { exitCode: EXIT.usage })
      ask({
        command: 'agent',
        config: {
          ...config,
          source,
          ...(healthzBindAddress === 'none' ? {} : { healthzAddress: healthzBindAddress }),
          ...(proxyModeAddress === 'none' ? {} : { proxyModeAddress }),
          cleanKubeProxy: cleanKubeProxy === 'yes',
          tunnelFamily: tunnelFamily === 'auto' ? 'auto' : tunnelFamily === '4' ? 4 : 6,
        },
      })
    })
}

function whyNoDsr(options: AgentOptions): string | undefined {
  if (options.serviceForwarding !== 'dsr') return undefined
  if (options.tunnel === 'kernel') {
    return "error: --service-forwarding dsr is by our programs' tunnel, and with --tunnel kernel the kernel has its port; use snat"
  }
  if (options.nodePortAddresses === 'primary') return undefined
  return 'error: --service-forwarding dsr needs --node-port-addresses primary: other nodes know no more of this one'
}

/** Undefined where no API server is named anywhere. */
function sourceOf(options: AgentOptions, environment: NodeJS.ProcessEnv): Source | undefined {
  const { source, kubernetesApi, serviceAccountDir, kubeconfig } = options
  if (source.kind === 'manifests') return source
  const own = kubeconfig === undefined ? serviceServer(environment) : undefined
  const servers = [...kubernetesApi, ...(own === undefined ? [] : [own])]
  if (servers.length === 0 && kubeconfig === undefined) return undefined
  return {
    ...{ kind: 'kubernetes', servers, serviceAccountDir },
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
  }
}
