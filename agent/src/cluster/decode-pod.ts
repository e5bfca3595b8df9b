// A Kubernetes Pod, v1, to the row that the node network reads of it.
import { decodeMetadata, Field } from './decode.ts'
import type { PodRow } from './rows.ts'

/** @throws DecodeError */
export function decodePod(value: unknown): PodRow {
  const pod = new Field(value)
  const metadata = pod.at('metadata')
  const nodeName = pod.at('spec').at('nodeName').optionalString()
  return {
    ...decodeMetadata(metadata),
    ...(nodeName === undefined ? {} : { nodeName }),
    labels: metadata.at('labels').stringMap(),
    annotations: metadata.at('annotations').stringMap(),
  }
}
