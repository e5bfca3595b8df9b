// What can go wrong with the lab itself, by stable code.
export type LabErrorCode =
  | 'name' // a name that cannot become a file or namespace name
  | 'nodes' // more or fewer nodes than the plan has room for
  | 'root' // not root
  | 'in-use' // a lab of this name is up, or another process is working on it
  | 'absent' // no such lab, node or pod
  | 'command' // a command failed
  | 'timeout' // something did not happen in time
  | 'cni' // a CNI plugin refused
  | 'config' // no CNI configuration, or one we cannot read

export class LabError extends Error {
  readonly code: LabErrorCode
  constructor(code: LabErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LabError'
    this.code = code
  }
}
