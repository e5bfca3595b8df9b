// Import rules of the house (docs/architecture.md): arrows point one way, no cycles, pure modules stay pure.
const room = (name) => `^agent/src/${name}/`
const core =
  '^(node:)?(net|fs|fs/promises|timers|timers/promises|process|child_process|http|worker_threads)$'

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'netlink-stands-alone',
      severity: 'error',
      from: { path: '^netlink/' },
      to: { path: '^(bpf|cni|agent|test|wgctrl|bgp)/' },
    },
    {
      name: 'bpf-imports-netlink-only',
      severity: 'error',
      from: { path: '^bpf/' },
      to: { path: '^(cni|agent|test|wgctrl|bgp)/' },
    },
    {
      name: 'cni-imports-nothing-of-ours',
      severity: 'error',
      from: { path: '^cni/', pathNot: '[.]test[.]ts$' },
      to: { path: '^(netlink|bpf|agent|test|wgctrl|bgp)/' },
    },
    {
      name: 'agent-takes-only-the-wire-of-cni',
      severity: 'error',
      from: { path: '^agent/' },
      to: { path: '^cni/', pathNot: '^cni/src/wire[.]ts$' },
    },
    {
      name: 'only-test-imports-agent',
      severity: 'error',
      from: { path: '^(netlink|bpf|cni|setup)/' },
      to: { path: '^agent/' },
    },
    {
      name: 'nothing-imports-test',
      severity: 'error',
      from: { pathNot: '^test/' },
      to: { path: '^test/' },
    },
    {
      name: 'runtime-and-state-know-no-domain',
      severity: 'error',
      from: { path: `${room('runtime')}|${room('state')}` },
      to: { path: '^agent/src/(?!runtime/|state/)' },
    },
    {
      name: 'cluster-knows-no-capability',
      severity: 'error',
      from: { path: room('cluster') },
      to: { path: '^agent/src/(?!cluster/|state/|runtime/)' },
    },
    {
      name: 'compute-is-pure',
      severity: 'error',
      from: { path: '(/compute|/rows|/codec/.*|/wire|/layouts)[.]ts$' },
      to: { path: core, dependencyTypes: ['core'] },
    },
    {
      name: 'inside-a-package-no-barrel',
      severity: 'error',
      from: { path: '^([^/]+)/src/', pathNot: '[.]test[.]ts$' },
      to: { path: '^$1/src/index[.]ts$' },
    },
    {
      name: 'one-file-owns-the-addon',
      severity: 'error',
      from: { pathNot: '/native[.]ts$' },
      to: { path: '^(node:)?module$' },
    },
    {
      name: 'declared-dependencies-only',
      severity: 'error',
      from: { pathNot: '[.](test|config)[.]ts$' },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        pathNot: 'node_modules/(@types|vitest|esbuild|typescript)/',
      },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(build|dist|target)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    combinedDependencies: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.mjs', '.js', '.json'],
    },
  },
}
