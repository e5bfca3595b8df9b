// Families of generic netlink: subsystems that have a name, and get their number only when the kernel registers them.

export interface GenericOperation {
  readonly command: number
  /** GENL_CMD_CAP_* and GENL_ADMIN_PERM bits of linux/genetlink.h. */
  readonly flags: number
}

export interface GenericGroup {
  readonly name: string
  readonly id: number
}

export interface GenericFamily {
  /** The message type of this family, until it is unregistered. */
  readonly id: number
  readonly name: string
  readonly version: number
  /** Of a structure of the family's own between the generic header and the attributes; mostly 0. */
  readonly headerBytes: number
  readonly operations: readonly GenericOperation[]
  readonly groups: readonly GenericGroup[]
}
