// Makes the tests of Kubernetes a dependency, so that go.mod names what e2e.test is built from.
package build

import _ "k8s.io/kubernetes/test/e2e"
