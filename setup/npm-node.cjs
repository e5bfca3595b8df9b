// Loaded into npm alone, where npm runs on an old Node: npm leaves out optional packages (the native parts of vitest, for one)
// whose `engines` do not fit the Node it runs on. They will be run by the project's own Node, so npm is told of that one.
const { devDependencies } = require('../package.json')

// npm's children, the install scripts of packages, see the machine as it is.
delete process.env.NODE_OPTIONS
Object.defineProperty(process, 'version', { value: `v${devDependencies.node}` })
