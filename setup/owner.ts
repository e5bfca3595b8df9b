// After root has worked in somebody's tree, what it left there is given back, so that its owner can go on working.
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'

/** Does nothing unless we are root and the tree belongs to somebody else. */
export function giveBack(root: string): void {
  const { uid, gid } = statSync(root)
  if (process.getuid?.() !== 0 || uid === 0) return
  const found = ['-xdev', '-user', '0', '-exec', 'chown', '-h', `${uid}:${gid}`, '{}', '+']
  spawnSync('find', [root, ...found], { stdio: ['ignore', 'ignore', 'inherit'] })
}
