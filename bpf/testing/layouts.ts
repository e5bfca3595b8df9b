// Says where a TypeScript struct codec and the C struct it mirrors differ, by the BTF of a built object.
import type { Struct } from '../src/struct.ts'
import type { Btf, BtfField } from './btf.ts'

/** Names of C for names of TypeScript: `tunnelLocal4` is `tunnel_local4`. */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** One line per difference in size, member, offset or order; empty if they are the same. */
export function compareLayout(codec: Struct<unknown>, btf: Btf): string[] {
  const struct = btf.structs.get(codec.name)
  if (struct === undefined) return [`struct ${codec.name}: not in the object`]
  const differences: string[] = []
  if (struct.size !== codec.size) {
    differences.push(`struct ${codec.name}: ${struct.size} bytes in C, ${codec.size} here`)
  }
  const inC = struct.fields.map(memberText)
  const here = codec.fields.map((field) => memberText({ ...field, name: snakeCase(field.name) }))
  for (let i = 0; i < Math.max(inC.length, here.length); i++) {
    if (inC[i] !== here[i]) {
      differences.push(
        `struct ${codec.name}, member ${i}: ${inC[i] ?? 'none'} in C, ${here[i] ?? 'none'} here`,
      )
    }
  }
  return differences
}

/** The same for a codec that knows only some members of a struct; `names` are those to compare. */
export function compareMembers(
  codec: Struct<unknown>,
  btf: Btf,
  names: readonly string[],
): string[] {
  const struct = btf.structs.get(codec.name)
  const inC = new Set(struct?.fields.map(memberText))
  return codec.fields
    .filter(({ name }) => names.includes(name))
    .map((field) => memberText({ ...field, name: snakeCase(field.name) }))
    .filter((member) => !inC.has(member))
    .map((member) => `struct ${codec.name}: ${member} here, not so in C`)
}

function memberText({ name, offset, size }: BtfField): string {
  return `${name} at ${offset}, ${size} bytes`
}
