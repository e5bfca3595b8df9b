// Folders to an image archive: an OCI layout that is a Docker archive too, the same bytes for the same files.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

export interface ImageDescription {
  /** With the tag: localhost/sinabro:0.1.0. */
  readonly name: string
  /** In the image specification's words: amd64, arm64. */
  readonly architecture: string
  readonly entrypoint: readonly string[]
  readonly path: string
  readonly labels: Readonly<Record<string, string>>
}

export interface Built {
  /** Of the manifest: what a registry and `imagePullPolicy` know the image by. */
  readonly digest: string
  readonly layers: readonly { readonly digest: string; readonly bytes: number }[]
}

const OCI = 'application/vnd.oci.image'
/** Nothing in it depends on when it was built. */
const CREATED = '1970-01-01T00:00:00Z'

interface Blob {
  readonly digest: string
  readonly bytes: Buffer
}

/** `folders`: one layer each, the lowest first. */
export function writeArchive(
  folders: readonly string[],
  { name, architecture, entrypoint, path, labels }: ImageDescription,
  file: string,
  scratch: string,
): Built {
  const tars = folders.map((folder) => tarOf(folder))
  const layers = tars.map((tar) => blob(gzipSync(tar, { level: 9 })))
  const config = blob({
    architecture,
    os: 'linux',
    created: CREATED,
    config: {
      Entrypoint: entrypoint,
      Env: [`PATH=${path}`],
      WorkingDir: '/',
      Labels: labels,
    },
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) },
    history: folders.map(() => ({ created: CREATED, created_by: 'npm run image' })),
  })
  const manifest = blob({
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: { mediaType: `${OCI}.config.v1+json`, ...sized(config) },
    layers: layers.map((layer) => ({ mediaType: `${OCI}.layer.v1.tar+gzip`, ...sized(layer) })),
  })
  const index = {
    schemaVersion: 2,
    mediaType: `${OCI}.index.v1+json`,
    manifests: [
      {
        mediaType: `${OCI}.manifest.v1+json`,
        ...sized(manifest),
        platform: { architecture, os: 'linux' },
        annotations: {
          'io.containerd.image.name': name,
          'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
        },
      },
    ],
  }
  const pathOf = ({ digest }: Blob): string => `blobs/sha256/${digest.slice(7)}`
  // What `docker load` read before it knew OCI layouts.
  const docker = [{ Config: pathOf(config), RepoTags: [name], Layers: layers.map(pathOf) }]
  rmSync(scratch, { recursive: true, force: true })
  mkdirSync(join(scratch, 'blobs/sha256'), { recursive: true })
  for (const one of [...layers, config, manifest]) {
    writeFileSync(join(scratch, pathOf(one)), one.bytes)
  }
  writeFileSync(join(scratch, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  writeFileSync(join(scratch, 'index.json'), JSON.stringify(index))
  writeFileSync(join(scratch, 'manifest.json'), JSON.stringify(docker))
  // Readers that take the first file for the kind of the archive find the layout first.
  const order = ['oci-layout', 'index.json', 'manifest.json', 'blobs']
  writeFileSync(file, tarOf(scratch, order))
  rmSync(scratch, { recursive: true })
  return {
    digest: manifest.digest,
    layers: layers.map(({ digest, bytes }) => ({ digest, bytes: bytes.length })),
  }
}

/** GNU tar, told to leave out all that differs between two builds of the same files. */
function tarOf(folder: string, entries: readonly string[] = ['.']): Buffer {
  const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner']
  const args = [...same, '--mode=u+rw,go-w', '--format=ustar', '-C', folder, '-cf', '-', ...entries]
  return execFileSync('tar', args, { maxBuffer: 1 << 30 })
}

function blob(content: Buffer | object): Blob {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
  return { digest: digestOf(bytes), bytes }
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

function sized({ digest, bytes }: Blob): { digest: string; size: number } {
  return { digest, size: bytes.length }
}
