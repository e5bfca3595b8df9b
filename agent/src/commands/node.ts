// The commands that work on the node itself, with or without an agent: doctor and uninstall.
import { type Command, Option } from 'commander'
import {
  type DoctorConfig,
  type OutputFormat,
  type Request,
  socketPath,
  type UninstallConfig,
} from '../config.ts'
import {
  bpfDirOption,
  cniBinDirOption,
  cniConfDirOption,
  outputOption,
  runDirOption,
  stateDirOption,
  tunnelPortOption,
  vniOption,
} from './options.ts'

const DOCTOR_HELP = `
It looks for what breaks such networks: forwarding that is off, firewalls that drop, reverse path filters, devices of others with our
VNI or port, MTUs, missing kernel features, CNI configuration that another file hides or that the runtime does not read, network
managers that take our devices. It changes nothing. For each finding it says what it means and what to do.

  ok       looked at, nothing wrong
  warning  works now and may not later, or is slower than it could be
  error    breaks the network of pods
  skipped  could not be looked at; the reason is said

Some checks need to know what the agent knows; without an agent they are skipped. Exit code 4 if anything is an error.`

const UNINSTALL_HELP = `
First drain the node and stop the agent. Then this takes away the network configuration, the executable, devices, routes, firewall
rules, pinned programs and maps, and the files of the state directory; nothing that is not ours is touched. While pods are attached it
refuses. It may be repeated.

With --force and an agent that runs, the node takes no new pods, and network configuration and executable stay until the last pod is
deleted: a runtime cannot stop pods without them. With --force and no agent, pods that are left lose their network, and the runtime
cannot stop them until another network is there.

Example:
  kubectl drain node-1 --ignore-daemonsets && systemctl stop sinabro && sinabro uninstall`

export function addDoctorCommand(program: Command, ask: (request: Request) => void): void {
  program
    .command('doctor')
    .description('look for what breaks the network of pods on this node, and say what to do')
    .addOption(runDirOption())
    .addOption(bpfDirOption())
    .addOption(cniConfDirOption())
    .addOption(cniBinDirOption())
    .addOption(tunnelPortOption())
    .addOption(vniOption())
    .addOption(
      new Option('--containerd-config <file>', "containerd's configuration").default(
        '/etc/containerd/config.toml',
      ),
    )
    .addOption(outputOption())
    .addHelpText('after', DOCTOR_HELP)
    .action(
      ({
        runDir,
        output,
        ...config
      }: Omit<DoctorConfig, 'socket'> & { runDir: string; output: OutputFormat }) =>
        ask({ command: 'doctor', config: { ...config, socket: socketPath(runDir) }, output }),
    )
}

export function addUninstallCommand(program: Command, ask: (request: Request) => void): void {
  program
    .command('uninstall')
    .description('take everything of Sinabro off this node, once the agent is stopped')
    .addOption(stateDirOption())
    .addOption(runDirOption())
    .addOption(bpfDirOption())
    .addOption(cniConfDirOption())
    .addOption(cniBinDirOption())
    .option('--force', 'also when pods are left: they lose their network', false)
    .addOption(outputOption())
    .addHelpText('after', UNINSTALL_HELP)
    .action(
      ({
        force,
        output,
        ...config
      }: Omit<UninstallConfig, 'isForced'> & { force: boolean; output: OutputFormat }) =>
        ask({ command: 'uninstall', config: { ...config, isForced: force }, output }),
    )
}
