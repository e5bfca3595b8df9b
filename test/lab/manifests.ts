// The lab's directory of Kubernetes objects: what agents started with `--source manifests:DIR` follow.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { NodePlan } from './plan.ts'

export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
}

export class Manifests {
  readonly dir: string

  constructor(dir: string) {
    this.dir = dir
    mkdirSync(dir, { recursive: true })
  }

  /** Writes the object whole or not at all: a reader never sees half a file. */
  write(object: KubernetesObject): void {
    const path = join(this.dir, fileName(object))
    const temporary = join(this.dir, `.${fileName(object)}`)
    writeFileSync(temporary, stringify(object))
    renameSync(temporary, path)
  }

  remove(object: Pick<KubernetesObject, 'kind' | 'metadata'>): void {
    rmSync(join(this.dir, fileName(object)), { force: true })
  }
}

function fileName({ kind, metadata }: Pick<KubernetesObject, 'kind' | 'metadata'>): string {
  const namespace = metadata.namespace === undefined ? '' : `${metadata.namespace}-`
  return `${kind.toLowerCase()}-${namespace}${metadata.name}.yaml`
}

/** The Node object a kubelet and a controller manager would have made of this machine. */
export function nodeObject(
  plan: NodePlan,
  uid: string,
  annotations: Readonly<Record<string, string>> = {},
): KubernetesObject & { spec: unknown } {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      ...{ name: plan.name, uid, annotations },
      labels: { 'kubernetes.io/hostname': plan.name },
    },
    spec: { podCIDR: plan.podCidrs[0], podCIDRs: plan.podCidrs },
    status: {
      addresses: [
        ...plan.internalIps.map((address) => ({ type: 'InternalIP', address })),
        { type: 'Hostname', address: plan.name },
      ],
    },
  } as KubernetesObject & { spec: unknown }
}
