// The only reader of the command line: what is asked for, checked, as one plain object.
import { Command, CommanderError } from 'commander'
import { EXIT, type Request, version } from '../config.ts'
import { addAgentCommand } from './agent.ts'
import { withConfigDir } from './config-dir.ts'
import { addDoctorCommand, addUninstallCommand } from './node.ts'
import { addViewCommands } from './views.ts'

const HELP = `
Exit codes:
  0  done
  1  failed; the message says why
  2  the command line was wrong
  3  no agent answers
  4  something does not work: 'status' when the agent is not ready or a part of it is degraded, 'doctor' when it found a fault
  5  the kernel cannot do what the agent needs; the message names it

Every command that shows something takes --output table, json or yaml. Names in json and yaml stay as they are from version to
version; tables are for people and may change.`

export interface Streams {
  out(text: string): void
  err(text: string): void
}

/** `argv` without the program and script. */
export function readCommandLine(argv: readonly string[], streams: Streams): Request {
  let request: Request = { command: 'none', exitCode: EXIT.usage }
  const program = describeProgram((asked) => {
    request = asked
  })
  for (const command of [program, ...program.commands.flatMap((one) => [one, ...one.commands])]) {
    command
      .exitOverride()
      .showHelpAfterError("(try 'sinabro --help', or --help after the command)")
      .configureOutput({ writeOut: streams.out, writeErr: streams.err })
  }
  try {
    program.parse(withConfigDir(argv, process.env), { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return { command: 'none', exitCode: error.exitCode === 0 ? EXIT.ok : EXIT.usage }
  }
  return request
}

function describeProgram(ask: (request: Request) => void): Command {
  const program = new Command('sinabro')
    .description(
      'A node network for Kubernetes: one agent per node, and these commands to look at it.',
    )
    .version(version(), '-V, --version', 'print the version')
    // What follows a command is the command's.
    .enablePositionalOptions()
    .addHelpText('after', HELP)
  addAgentCommand(program, ask)
  addViewCommands(program, ask)
  addDoctorCommand(program, ask)
  addUninstallCommand(program, ask)
  program
    .command('version')
    .description('print the version')
    .action(() => ask({ command: 'version' }))
  return program
}
