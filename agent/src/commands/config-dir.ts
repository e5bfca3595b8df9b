// Settings as files of a folder, the way a mounted ConfigMap is: each file is a flag of its name. What the command line says wins.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const FLAG = '--config-dir'

/** `argv` with the flags of the folder put in after the command; unchanged where no folder is named. @throws if it cannot be read */
export function withConfigDir(argv: readonly string[], environment: NodeJS.ProcessEnv): string[] {
  const [command, ...rest] = argv
  const folder = folderOf(rest) ?? environment.SINABRO_CONFIG_DIR
  if (command !== 'agent' || folder === undefined || folder === '') return [...argv]
  return [command, ...flagsOf(folder), ...rest]
}

function folderOf(args: readonly string[]): string | undefined {
  const at = args.findIndex((arg) => arg === FLAG || arg.startsWith(`${FLAG}=`))
  return args[at] === FLAG ? args[at + 1] : args[at]?.slice(FLAG.length + 1)
}

/** An empty file stands for the default. Dot files are how a mounted ConfigMap changes all of itself at once. */
function flagsOf(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .map((name) => ({ name, value: readFileSync(join(folder, name), 'utf8').trim() }))
    .filter(({ value }) => value !== '')
    .map(({ name, value }) => `--${name}=${value}`)
}
