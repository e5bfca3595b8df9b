// A Kubernetes Namespace, v1, to the row that the node network reads of it.
import { decodeName, Field } from './decode.ts'
import type { NamespaceRow } from './rows.ts'

/** @throws DecodeError */
export function decodeNamespace(value: unknown): NamespaceRow {
  const metadata = new Field(value).at('metadata')
  const uid = metadata.at('uid').optionalString()
  return {
    name: decodeName(metadata.at('name')),
    ...(uid === undefined ? {} : { uid }),
    labels: metadata.at('labels').stringMap(),
    annotations: metadata.at('annotations').stringMap(),
  }
}
