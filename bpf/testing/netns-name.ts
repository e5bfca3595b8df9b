// Names for namespaces of `ip netns`, which do not go with the process that made them: the next run removes those of a killed one.
import { execFileSync } from 'node:child_process'
import { basename } from 'node:path'
import { leftovers } from './leftovers.ts'

const PREFIX = 'sbt'
let count = 0

/** What names of one test's namespaces begin with, no two alike; whoever adds them deletes them. */
export function netnsName(): string {
  if (count === 0) sweep()
  return `${PREFIX}${process.pid}-${++count}`
}

function sweep(): void {
  for (const path of leftovers('/run/netns', PREFIX)) {
    try {
      // A process in it would keep the namespace beyond its name.
      const pids = execFileSync('ip', ['netns', 'pids', basename(path)], { encoding: 'utf8' })
      for (const pid of pids.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL')
      execFileSync('ip', ['netns', 'del', basename(path)], { stdio: 'ignore' })
    } catch {
      // Another run is at it.
    }
  }
}
