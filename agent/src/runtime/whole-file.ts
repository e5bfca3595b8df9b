// Writes a file whole or not at all: beside its place, flushed, then renamed, the folder flushed too.
import { constants } from 'node:fs'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from './log.ts'

export interface WholeFile {
  readonly folder: string
  readonly name: string
  readonly bytes: Buffer
  readonly mode: number
}

/** Says whether it wrote: an equal file is left alone. The temporary file is a dot file of the same folder. */
export async function writeWhole({ folder, name, bytes, mode }: WholeFile): Promise<boolean> {
  const path = join(folder, name)
  if ((await contentOf(path))?.equals(bytes)) return false
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const temporary = join(folder, `.${name}.new`)
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants
  const file = await open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode)
  try {
    await file.writeFile(bytes)
    await file.chmod(mode)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const directory = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
  return true
}

/** Undefined when it is not there. */
export async function contentOf(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
