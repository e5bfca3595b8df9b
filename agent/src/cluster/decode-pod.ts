// A Kubernetes Pod, v1, to the row that the node network reads of it.
import { decodeName, Field } from './decode.ts'
import type { PodRow } from './rows.ts'

/** @throws DecodeError */
export function decodePod(value: unknown): PodRow {
  const pod = new Field(value)
  const metadata = pod.at('metadata')
  const namespace = metadata.at('namespace')
  const uid = metadata.at('uid').optionalString()
  const nodeName = pod.at('spec').at('nodeName').optionalString()
  return {
    namespace: namespace.isAbsent ? 'default' : decodeName(namespace),
    name: decodeName(metadata.at('name')),
    ...(uid === undefined ? {} : { uid }),
    ...(nodeName === undefined ? {} : { nodeName }),
    labels: metadata.at('labels').stringMap(),
    annotations: metadata.at('annotations').stringMap(),
  }
}
