// The licences of everything that is compiled into our own files: npm packages of the bundle, crates of the CNI executable.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

interface Lock {
  readonly packages: Readonly<Record<string, { dev?: boolean; link?: boolean; version?: string }>>
}

/** One text, in a fixed order. @throws if a crate has no licence file */
export function packageLicences(root: string): string {
  return [...npmLicences(root), ...crateLicences(root)]
    .map(({ name, text }) => `${'='.repeat(78)}\n${name}\n\n${text.trim()}\n`)
    .join('\n')
}

interface Licence {
  readonly name: string
  readonly text: string
}

/** More than the bundle takes: all that it may take. */
function npmLicences(root: string): Licence[] {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
  return Object.keys(lock.packages)
    .filter((path) => path.startsWith('node_modules/') && !lock.packages[path]?.dev)
    .filter((path) => !lock.packages[path]?.link && !path.includes('/@types/'))
    .sort()
    .flatMap((path) => {
      const name = `${path.replace(/^.*node_modules\//, '')} ${lock.packages[path]?.version ?? ''}`
      return licenceFiles(join(root, path)).map((text) => ({ name, text }))
    })
}

function crateLicences(root: string): Licence[] {
  const lock = readFileSync(join(root, 'cni/host/Cargo.lock'), 'utf8')
  const crates = [...lock.matchAll(/\[\[package\]\]\nname = "(.+)"\nversion = "(.+)"\nsource = /g)]
  const cargo = process.env.CARGO_HOME ?? join(homedir(), '.cargo')
  return crates.flatMap(([, crate = '', version = '']) => {
    const name = `${crate} ${version}`
    const [folder] = globSync(`registry/src/*/${crate}-${version}`, { cwd: cargo })
    // Crates that other platforms or the build alone need are not fetched.
    if (folder === undefined) return []
    return licenceFiles(join(cargo, folder)).map((text) => ({ name, text }))
  })
}

function licenceFiles(folder: string): string[] {
  if (!existsSync(folder)) return []
  const names = globSync('{LICEN[CS]E,LICEN[CS]E[-.]*,licen[cs]e,COPYING*}', { cwd: folder })
  return names.sort().map((name) => readFileSync(join(folder, name), 'utf8'))
}
