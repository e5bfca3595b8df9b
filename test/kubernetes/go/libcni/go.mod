// The driver of scenarios/libcni.ts; its version of libcni is that of containerd 2.1 or newer.
module sinabro/test/kubernetes/go/libcni

go 1.24.2

require github.com/containernetworking/cni v1.3.0
