# One-line recipes for people. `npx rust-just --list` shows them; each is a command of package.json or a few of them.

default:
    @just --list

# two nodes, four pods, both families; says what it sees
demo *ARGS:
    npm run demo -- {{ARGS}}

# everything that runs on one machine in minutes
test *ARGS:
    npm test -- {{ARGS}}

# format, lint, types, import rules
check:
    npm run check

# addons, eBPF objects, CNI executable, bundle
build:
    npm run build

# the lab: up --nodes 3, shell NODE, pods, down
lab *ARGS:
    npm run lab -- {{ARGS}}

# what packets, calls and the agent cost, beside others' in the same run
bench *ARGS:
    npm run bench -- {{ARGS}}

# the kernel suites on Debian's own kernels
test-vm *ARGS:
    npm run test:vm -- {{ARGS}}
