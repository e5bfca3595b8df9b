// What killed test runs left: things that are named after the process which made them, and outlive it.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Paths in that folder whose name begins so, followed by the id of a process that is no more and a dash. Several runs may ask
 * at once: whoever removes one bears that it is gone.
 */
export function leftovers(dir: string, prefix: string): string[] {
  const names = existsSync(dir) ? readdirSync(dir) : []
  return names
    .filter((name) => {
      const [, pid] =
        /^([0-9]+)-/.exec(name.startsWith(prefix) ? name.slice(prefix.length) : '') ?? []
      return pid !== undefined && !existsSync(`/proc/${pid}`)
    })
    .map((name) => join(dir, name))
}
