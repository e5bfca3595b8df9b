// A real etcd and kube-apiserver on loopback, with a cable in front that a test can cut; for tests of what talks to an API server.
import { type ChildProcess, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KubernetesApi } from '@sinabro/agent/cluster/kubernetes/api.ts'
import { serviceAccount } from '@sinabro/agent/cluster/kubernetes/credentials.ts'
import { silentLog } from '@sinabro/agent/runtime/log.ts'
import { run } from '../../lab/command.ts'
import { eventually } from '../../lab/eventually.ts'
import { BINARIES } from '../versions.ts'

const READY_WITHIN_MS = 60_000
const AGENT = 'system:serviceaccount:kube-system:sinabro'

/** Why it cannot run here, if it cannot. */
export function missing(): string | undefined {
  const absent = ['etcd', 'kube-apiserver'].filter((name) => !existsSync(join(BINARIES, name)))
  return absent.length === 0
    ? undefined
    : `${absent.join(' and ')} not built yet: 'npm run test:kubernetes -- up' does`
}

export class TestApiServer {
  readonly dir = mkdtempSync(join(tmpdir(), 'sinabro-api-'))
  /** Folders with token and ca.crt, as pods have them. */
  readonly admin = join(this.dir, 'admin')
  readonly agent = join(this.dir, 'agent')
  #etcd: ChildProcess | undefined
  #apiServer: ChildProcess | undefined
  #ports: readonly number[] = []
  #api: KubernetesApi | undefined
  readonly #cables: Cable[] = []

  async start(): Promise<void> {
    this.#ports = await Promise.all([freePort(), freePort(), freePort()])
    await this.makeCertificates()
    await run(['openssl', 'genrsa', '-out', this.#file('sa.key'), '2048'])
    for (const [name, token] of [
      ['admin', 'admin-token'],
      ['agent', 'agent-token'],
    ] as const) {
      mkdirSync(join(this.dir, name), { recursive: true })
      writeFileSync(join(this.dir, name, 'token'), token)
    }
    this.publishAuthority()
    const tokens = ['admin-token,admin,1,system:masters', `agent-token,${AGENT},2`]
    writeFileSync(this.#file('tokens.csv'), `${tokens.join('\n')}\n`)
    const server = `https://127.0.0.1:${this.#ports[0]}`
    const credentials = serviceAccount(this.admin)
    this.#api = new KubernetesApi({
      ...{ servers: [server], credentials, userAgent: 'test', log: silentLog },
    })
    this.startEtcd()
    await this.startApiServer()
  }

  /** A new authority and certificate; the agent learns of it by `publishAuthority`. */
  async makeCertificates(): Promise<void> {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    const make = ['openssl', 'req', '-x509', ...key, '-days', '2']
    const ca = ['-keyout', this.#file('ca.key'), '-out', this.#file('ca.crt'), '-subj', '/CN=ca']
    await run([...make, ...ca])
    await run([
      ...[...make, '-CA', this.#file('ca.crt'), '-CAkey', this.#file('ca.key')],
      ...['-keyout', this.#file('server.key'), '-out', this.#file('server.crt')],
      ...['-subj', '/CN=server', '-addext', 'subjectAltName=IP:127.0.0.1,IP:::1'],
      ...['-addext', 'basicConstraints=critical,CA:FALSE'],
    ])
  }

  publishAuthority(): void {
    for (const dir of [this.admin, this.agent]) cpSync(this.#file('ca.crt'), join(dir, 'ca.crt'))
  }

  startEtcd(): void {
    const [, client, peer] = this.#ports
    const at = (port: number | undefined): string => `http://127.0.0.1:${port}`
    this.#etcd = this.#spawn('etcd', [
      ...['--name=e', `--data-dir=${this.#file('etcd')}`, '--log-level=error'],
      ...[`--listen-client-urls=${at(client)}`, `--advertise-client-urls=${at(client)}`],
      ...[`--listen-peer-urls=${at(peer)}`, `--initial-advertise-peer-urls=${at(peer)}`],
      ...[`--initial-cluster=e=${at(peer)}`, '--unsafe-no-fsync'],
    ])
  }

  async startApiServer(): Promise<void> {
    const [port, etcd] = this.#ports
    this.#apiServer = this.#spawn('kube-apiserver', [
      ...[`--secure-port=${port}`, '--bind-address=127.0.0.1', '--advertise-address=192.0.2.1'],
      ...[`--etcd-servers=http://127.0.0.1:${etcd}`, '--service-cluster-ip-range=10.96.0.0/16'],
      ...[`--tls-cert-file=${this.#file('server.crt')}`],
      ...[`--tls-private-key-file=${this.#file('server.key')}`],
      ...[`--token-auth-file=${this.#file('tokens.csv')}`, '--authorization-mode=RBAC'],
      ...['--service-account-issuer=https://kubernetes.default.svc'],
      ...[`--service-account-key-file=${this.#file('sa.key')}`],
      ...[`--service-account-signing-key-file=${this.#file('sa.key')}`],
      ...['--disable-admission-plugins=ServiceAccount', `--cert-dir=${this.#file('certs')}`],
    ])
    await eventually(
      `the API server to be ready (${this.#file('kube-apiserver.log')})`,
      async () =>
        (await this.ask('GET', '/api/v1/nodes?limit=1').catch(() => undefined)) !== undefined,
      READY_WITHIN_MS,
    )
    await eventually(
      'the default namespace',
      async () =>
        (await this.ask('GET', '/api/v1/namespaces/default').catch(() => undefined)) !== undefined,
      READY_WITHIN_MS,
    )
  }

  stopApiServer(): Promise<void> {
    return end(this.#apiServer)
  }

  stopEtcd(): Promise<void> {
    return end(this.#etcd)
  }

  /** While etcd is stopped. */
  saveEtcd(): void {
    cpSync(this.#file('etcd'), this.#file('etcd.saved'), { recursive: true })
  }

  restoreEtcd(): void {
    rmSync(this.#file('etcd'), { recursive: true })
    cpSync(this.#file('etcd.saved'), this.#file('etcd'), { recursive: true })
  }

  /** As administrator; `path` may have a query. */
  async ask(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    value?: unknown,
    type?: string,
  ) {
    const [pathname = '', query = ''] = path.split('?')
    return await this.#api?.json(
      {
        ...{ method: method as 'GET', verb: 'test', resource: 'test', path: pathname },
        query: Object.fromEntries(new URLSearchParams(query)),
        ...(value === undefined
          ? {}
          : { body: { type: type ?? (method === 'PATCH' ? MERGE : 'application/json'), value } }),
      },
      AbortSignal.timeout(30_000),
    )
  }

  /** A way to the API server that can be cut. */
  async cable(): Promise<Cable> {
    const cable = new Cable(this.#ports[0] ?? 0)
    await cable.open()
    this.#cables.push(cable)
    return cable
  }

  async close(): Promise<void> {
    for (const cable of this.#cables) await cable.cut()
    this.#api?.close()
    await this.stopApiServer()
    await this.stopEtcd()
    rmSync(this.dir, { recursive: true, force: true })
  }

  #file(name: string): string {
    return join(this.dir, name)
  }

  #spawn(name: string, args: readonly string[]): ChildProcess {
    const log = openSync(this.#file(`${name}.log`), 'a')
    return spawn(join(BINARIES, name), args, { stdio: ['ignore', log, log] })
  }
}

const MERGE = 'application/merge-patch+json'

/** Forwards TCP to a port of loopback, until it is cut. */
export class Cable {
  readonly #to: number
  #server: Server | undefined
  #port = 0
  readonly #sockets = new Set<Socket>()

  constructor(to: number) {
    this.#to = to
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`
  }

  async open(): Promise<void> {
    const server = createServer((near) => {
      const far = connect(this.#to, '127.0.0.1')
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one)
        one.pipe(other)
        one
          .on('error', () => other.destroy())
          .on('close', () => {
            this.#sockets.delete(one)
            other.destroy()
          })
      }
    })
    this.#server = server
    await new Promise<void>((resolve) => {
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
  }

  /** What is connected hears nothing more and is not told so; new connections work. */
  freeze(): void {
    for (const socket of this.#sockets) socket.unpipe()
  }

  async cut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise((resolve) => {
      server.close(resolve)
    })
    for (const socket of this.#sockets) socket.resetAndDestroy()
    await closed
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => {
    server.close(resolve)
  })
  return port
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => {
    child.once('exit', resolve)
  })
  child.kill('SIGKILL')
  await gone
}
