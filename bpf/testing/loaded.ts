// Objects that share their maps by pin, in the kernel; a process of many test files may hand them from one to the next.
import { join } from 'node:path'
import { BpfObject } from '../src/object.ts'
import { mountBpffs, type PrivateBpffs } from './bpffs.ts'

export interface LoadOptions {
  /** Files of the objects; they share their maps by pin, as on a real node. */
  readonly objects: readonly string[]
  /** Constants that every one of the objects has. */
  readonly rodata?: Readonly<Record<string, Uint8Array>>
  /** Sizes of maps, by name; undefined leaves it at what is declared. */
  readonly maxEntries?: (map: string) => number | undefined
}

export interface Loaded {
  readonly objects: readonly BpfObject[]
  /** Gives them back; they are of no more use to whoever had them. */
  close(): void
}

/** What was given back, by what it was loaded with. */
let idle: Map<string, Loaded[]> | undefined

/** From now on what is given back waits for the next who loads the same; for a process that ends with its kernel. */
export function keepLoaded(): void {
  idle ??= new Map()
}

export async function loadObjects(options: LoadOptions): Promise<Loaded> {
  if (idle === undefined) return await load(options)
  const sizes = new Map<string, number | undefined>()
  const maxEntries = (map: string): number | undefined => {
    const size = options.maxEntries?.(map)
    sizes.set(map, size)
    return size
  }
  for (const [key, waiting] of idle) {
    if (isSame(key, options) && waiting.length > 0) return lent(key, waiting.pop() as Loaded)
  }
  const loaded = await load({ ...options, maxEntries })
  return lent(JSON.stringify([options.objects, rodataOf(options), [...sizes]]), loaded)
}

type Sizes = readonly (readonly [string, number | null])[]

function isSame(key: string, options: LoadOptions): boolean {
  const [objects, rodata, sizes] = JSON.parse(key) as [string[], unknown, Sizes]
  return (
    JSON.stringify([objects, rodata]) === JSON.stringify([options.objects, rodataOf(options)]) &&
    sizes.every(([map, size]) => (options.maxEntries?.(map) ?? null) === size)
  )
}

function rodataOf({ rodata = {} }: LoadOptions): readonly (readonly [string, number[]])[] {
  return Object.entries(rodata).map(([name, value]) => [name, [...value]])
}

function lent(key: string, loaded: Loaded): Loaded {
  return {
    objects: loaded.objects,
    close: () => {
      idle?.set(key, [...(idle.get(key) ?? []), loaded])
    },
  }
}

async function load(options: LoadOptions): Promise<Loaded> {
  const { rodata, maxEntries } = options
  const bpffs: PrivateBpffs = mountBpffs()
  const objects: BpfObject[] = []
  const close = (): void => {
    for (const object of objects) object.close()
    bpffs.unmount()
  }
  try {
    for (const path of options.objects) {
      const object = BpfObject.open(path, {
        pinDir: join(bpffs.path, 'maps'),
        ...(rodata === undefined ? {} : { rodata }),
        ...(maxEntries === undefined ? {} : { maxEntries }),
      })
      objects.push(object)
      await object.load()
    }
    return { objects, close }
  } catch (error) {
    close()
    throw error
  }
}
