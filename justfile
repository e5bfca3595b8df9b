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

# a real Kubernetes on this machine, our scenarios and upstream's conformance specs; `up`, `shell`, `down`
test-kubernetes *ARGS:
    npm run test:kubernetes -- {{ARGS}}

# a kind cluster without a network: one-node, three-nodes, dual-stack, ipv6 (needs Docker and kind)
kind-up CONFIG="three-nodes":
    kind create cluster --config kind/{{CONFIG}}.yaml

kind-down:
    kind delete cluster --name sinabro

# the image as one archive, without Docker
build-image *ARGS:
    npm run image -- {{ARGS}}

# builds, loads the image, applies the manifest, waits, shows the status: on the test cluster if one is up, else on kubectl's context
deploy-agent: build-image
    sh setup/node.sh test/kubernetes/deploy.ts deploy-agent

# what each agent says of its node
status:
    sh setup/node.sh test/kubernetes/deploy.ts status

# a web server on every node
deploy-test-pods:
    sh setup/node.sh test/kubernetes/deploy.ts deploy-test-pods

# upstream's specs on the test cluster: --focus RE --skip RE
e2e *ARGS:
    npm run test:kubernetes -- e2e {{ARGS}}
