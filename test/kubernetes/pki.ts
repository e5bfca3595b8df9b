// Keys, certificates and kubeconfigs of the cluster, made with openssl; elliptic curves, because RSA keys take seconds.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../lab/command.ts'
import { inUrl, type NetworkPlan, PKI } from './places.ts'

const DAYS = '3650'
const AUTHORITIES = ['ca', 'front-proxy-ca']

interface Certificate {
  readonly name: string
  readonly subject: string
  readonly authority?: string
  readonly usage?: 'clientAuth' | 'serverAuth'
  readonly alternatives?: readonly string[]
}

const key = (name: string): string => join(PKI, `${name}.key`)
const certificate = (name: string): string => join(PKI, `${name}.crt`)

export async function makePki(plan: NetworkPlan, nodes: readonly string[]): Promise<void> {
  mkdirSync(PKI, { recursive: true, mode: 0o700 })
  await Promise.all(AUTHORITIES.map(makeAuthority))
  const users: Record<string, string> = {
    admin: '/O=system:masters/CN=kubernetes-admin',
    'controller-manager': '/CN=system:kube-controller-manager',
    scheduler: '/CN=system:kube-scheduler',
    'kube-proxy': '/CN=system:kube-proxy',
    ...Object.fromEntries(nodes.map((node) => [node, `/O=system:nodes/CN=system:node:${node}`])),
  }
  await Promise.all([
    makeServiceAccountKeys(),
    sign({
      name: 'apiserver',
      subject: '/CN=kube-apiserver',
      usage: 'serverAuth',
      alternatives: [
        ...['kubernetes', 'kubernetes.default', 'kubernetes.default.svc'].map((n) => `DNS:${n}`),
        'DNS:kubernetes.default.svc.cluster.local',
        'DNS:localhost',
        ...[...plan.apiServices, ...plan.controlAddresses, '127.0.0.1'].map((a) => `IP:${a}`),
      ],
    }),
    sign({ name: 'apiserver-kubelet-client', subject: '/O=system:masters/CN=apiserver-kubelet' }),
    sign({
      name: 'front-proxy-client',
      subject: '/CN=front-proxy-client',
      authority: 'front-proxy-ca',
    }),
    ...Object.entries(users).map(async ([name, subject]) => {
      await sign({ name, subject })
      writeKubeconfig(name, plan)
    }),
  ])
}

export function kubeconfig(user: string): string {
  return join(PKI, `${user}.conf`)
}

function writeKubeconfig(user: string, plan: NetworkPlan): void {
  const server = `https://${inUrl(plan.controlAddresses[0] ?? '')}:6443`
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority': certificate('ca') } }],
    users: [
      { name: user, user: { 'client-certificate': certificate(user), 'client-key': key(user) } },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user } }],
    'current-context': 'test',
  }
  writeFileSync(kubeconfig(user), JSON.stringify(config, null, 2), { mode: 0o600 })
}

async function makeAuthority(name: string): Promise<void> {
  await openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', key(name), '-out', certificate(name), '-days', DAYS, '-subj', `/CN=${name}`],
    ...['-addext', 'keyUsage=critical,keyCertSign,digitalSignature,keyEncipherment'],
  )
}

async function sign({
  name,
  subject,
  authority = 'ca',
  usage = 'clientAuth',
  alternatives = [],
}: Certificate): Promise<void> {
  const extensions = [
    'keyUsage=critical,digitalSignature,keyEncipherment',
    `extendedKeyUsage=${usage}`,
    'basicConstraints=critical,CA:FALSE',
    ...(alternatives.length === 0 ? [] : [`subjectAltName=${alternatives.join(',')}`]),
  ]
  await openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', key(name), '-out', certificate(name), '-days', DAYS, '-subj', subject],
    ...['-CA', certificate(authority), '-CAkey', key(authority)],
    ...extensions.flatMap((extension) => ['-addext', extension]),
  )
}

async function makeServiceAccountKeys(): Promise<void> {
  await openssl('genrsa', '-out', join(PKI, 'sa.key'), '2048')
  await openssl('rsa', '-in', join(PKI, 'sa.key'), '-pubout', '-out', join(PKI, 'sa.pub'))
}

async function openssl(...args: readonly string[]): Promise<void> {
  await run(['openssl', ...args])
}
