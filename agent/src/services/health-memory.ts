// What the health-check node ports of Services answered last, on disk: a restarted agent answers it until the cluster has told of them again,
// as the maps go on with the backends that they have.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from '../runtime/log.ts'
import { writeWhole } from '../runtime/whole-file.ts'

export interface RememberedPort {
  /** `namespace/name` of the Service. */
  readonly name: string
  readonly port: number
  readonly localEndpoints: number
}

export interface HealthMemory {
  readonly folder: string
  /** Of the machine: what an earlier boot served is served no more. */
  readonly bootId: string
}

export const HEALTH_MEMORY_FILE = 'health-ports.json'

/** Empty where there is none, or one of another boot. @throws what is wrong with the file */
export async function readHealthMemory({
  folder,
  bootId,
}: HealthMemory): Promise<RememberedPort[]> {
  let text: string
  try {
    text = await readFile(join(folder, HEALTH_MEMORY_FILE), 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
  const value = JSON.parse(text) as { readonly bootId?: unknown; readonly ports?: unknown } | null
  if (value?.bootId !== bootId) return []
  if (!Array.isArray(value.ports) || !value.ports.every(isPort))
    throw new Error('its ports are none')
  return value.ports
}

export async function writeHealthMemory(
  { folder, bootId }: HealthMemory,
  ports: readonly RememberedPort[],
): Promise<void> {
  const bytes = Buffer.from(JSON.stringify({ bootId, ports }))
  await writeWhole({ folder, name: HEALTH_MEMORY_FILE, bytes, mode: 0o600 })
}

function isPort(value: unknown): value is RememberedPort {
  if (typeof value !== 'object' || value === null) return false
  const { name, port, localEndpoints } = value as Record<string, unknown>
  const isCount = typeof localEndpoints === 'number' && localEndpoints >= 0
  return typeof name === 'string' && Number.isInteger(port) && isCount
}
