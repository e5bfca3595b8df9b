// The text of one manifest file, whatever lies under its name: bounded, never waiting on a pipe, honest about bytes that are not UTF-8.
import { isUtf8 } from 'node:buffer'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

export interface FileText {
  readonly text: string
  /** If not, U+FFFD stands in the text for what could not be read. */
  readonly isUtf8: boolean
}

/** Reading is linear in the size and does nothing else meanwhile: some seconds for this much. */
export const MAX_FILE_BYTES = 4 << 20

export class FileError extends Error {
  override readonly name = 'FileError'
  readonly code: 'not-a-file' | 'too-large'

  constructor(code: FileError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** @throws FileError, or what the system says */
export async function readManifestFile(path: string): Promise<FileText> {
  // A pipe with nobody at its other end, or a device, must not hold us up before we see what it is.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  try {
    if (!(await file.stat()).isFile()) throw notAFile()
    const bytes = await readAtMost(file, MAX_FILE_BYTES)
    if (bytes === undefined) {
      const message = `larger than ${MAX_FILE_BYTES} bytes: split it into several files`
      throw new FileError('too-large', message)
    }
    return { text: bytes.toString('utf8'), isUtf8: isUtf8(bytes) }
  } finally {
    await file.close()
  }
}

export function notAFile(): FileError {
  return new FileError('not-a-file', 'not a file: a manifest is a regular file, or a link to one')
}

/** Counts what is read, because the size that stat tells may be of a moment ago. Undefined if there is more. */
async function readAtMost(file: FileHandle, limit: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  for (let total = 0; total <= limit; ) {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(64 << 10) })
    if (bytesRead === 0) return Buffer.concat(chunks)
    total += bytesRead
    chunks.push(buffer.subarray(0, bytesRead))
  }
  return undefined
}
