// CTRL_* messages on the wire: struct genlmsghdr, which every family has, and CTRL_ATTR_*, by which families are found.
//
//   struct genlmsghdr { u8 command; u8 version; u16 reserved; } then the family's own structure, then attributes
import { attrs, indexed } from '../codec/attrs.ts'
import { type Infer, text, u8, u16, u32 } from '../codec/codec.ts'
import type { Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import type { GenericFamily } from './family.ts'

export const GENL_ID_CTRL = 0x10
export const CTRL_CMD_NEWFAMILY = 1
export const CTRL_CMD_GETFAMILY = 3

export const genlmsghdr = struct('genlmsghdr', { command: u8, version: u8, reserved: pad(2) })

/** GENL_NAMSIZ is 16 with the NUL. */
const name = text(15)

/** CTRL_ATTR_* of linux/genetlink.h. */
export const familyAttrs = attrs('genl-family', {
  id: [1, u16],
  name: [2, name],
  version: [3, u32],
  headerBytes: [4, u32],
  maxAttribute: [5, u32],
  operations: [6, indexed(attrs('genl-operation', { command: [1, u32], flags: [2, u32] }))],
  groups: [7, indexed(attrs('genl-group', { name: [1, name], id: [2, u32] }))],
})

/** With the cursor behind the generic header. */
export function decodeFamily(reader: Reader): GenericFamily {
  const wire: Infer<typeof familyAttrs> = familyAttrs.decode(reader)
  return {
    id: wire.id ?? 0,
    name: wire.name ?? '',
    version: wire.version ?? 0,
    headerBytes: wire.headerBytes ?? 0,
    operations: (wire.operations ?? []).map(({ command = 0, flags = 0 }) => ({ command, flags })),
    groups: (wire.groups ?? []).map(({ name = '', id = 0 }) => ({ name, id })),
  }
}
