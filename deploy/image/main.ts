// `npm run image`: everything built, to one image archive that `ctr images import`, `docker load` and `kind load image-archive` take.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { writeArchive } from './archive.ts'
import { layOut } from './rootfs.ts'

const root = dirname(dirname(import.meta.dirname))
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string
}

const USAGE = `usage: npm run image -- [--name NAME:TAG] [--output FILE] [--rootfs DIR]
  --name    what the image is called; localhost/sinabro:${version}
  --output  the archive; deploy/image/build/sinabro-${version}-ARCHITECTURE.tar
  --rootfs  only lay out its files there, for a Dockerfile`

/** Of this machine: addons and libraries are its own. */
const architecture = process.arch === 'x64' ? 'amd64' : process.arch
const PATH = '/usr/sbin:/usr/bin'

function main(): number {
  const { values } = parseArgs({
    options: {
      name: { type: 'string', default: `localhost/sinabro:${version}` },
      output: { type: 'string' },
      rootfs: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    console.log(USAGE)
    return 0
  }
  const build = join(root, 'deploy/image/build')
  mkdirSync(build, { recursive: true })
  // Of this run alone: two may build at once.
  const scratch = mkdtempSync(join(build, 'scratch-'))
  try {
    return make(values, build, scratch)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

interface Wanted {
  readonly name: string
  readonly output?: string | undefined
  readonly rootfs?: string | undefined
}

function make(values: Wanted, build: string, scratch: string): number {
  const { foreign, own } = layOut(root, join(scratch, 'layers'))
  if (values.rootfs !== undefined) {
    for (const layer of [foreign, own]) {
      cpSync(layer, resolve(values.rootfs), { recursive: true, verbatimSymlinks: true })
    }
    return 0
  }
  const file = resolve(values.output ?? join(build, `sinabro-${version}-${architecture}.tar`))
  mkdirSync(dirname(file), { recursive: true })
  const { digest, layers } = writeArchive(
    [foreign, own],
    {
      name: values.name,
      architecture,
      entrypoint: ['/usr/bin/sinabro'],
      path: PATH,
      labels: {
        'org.opencontainers.image.title': 'sinabro',
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': 'Apache-2.0',
      },
    },
    file,
    join(scratch, 'archive'),
  )
  const [base, ours] = layers.map(({ bytes }) => mib(bytes))
  console.log(`${relative(process.cwd(), file)}: ${values.name}, ${mib(statSync(file).size)} MiB`)
  console.log(`  layers: Node and Debian ${base} MiB, Sinabro ${ours} MiB (compressed)`)
  console.log(`  digest: ${digest}`)
  return 0
}

function mib(bytes: number): string {
  return (bytes / (1 << 20)).toFixed(1)
}

process.exit(main())
