// Drives a network configuration list through the real libcni, as a container runtime does, one request a line:
// {"verb":"ADD","conf":"/etc/cni/net.d/x.conflist","id":"…","netns":"/run/netns/…","version":"1.1.0"}; answers in JSON lines.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

type request struct {
	Verb    string   `json:"verb"`
	Conf    string   `json:"conf"`
	ID      string   `json:"id"`
	Netns   string   `json:"netns"`
	Version string   `json:"version"`
	BinDirs []string `json:"binDirs"`
	Cache   string   `json:"cache"`
	// Attachments that GC leaves alone.
	Valid []types.GCAttachment `json:"valid"`
	// What a runtime hands down: portMappings, bandwidth.
	Capabilities map[string]any `json:"capabilities"`
	Args         [][2]string    `json:"args"`
}

type answer struct {
	OK     bool         `json:"ok"`
	Result types.Result `json:"result,omitempty"`
	Error  string       `json:"error,omitempty"`
	Code   uint         `json:"code,omitempty"`
}

const timeout = 60 * time.Second

func main() {
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		result, err := serve(in.Bytes())
		said := answer{OK: err == nil, Result: result}
		if err != nil {
			said.Error = err.Error()
			var cniError *types.Error
			if e, ok := err.(*types.Error); ok {
				cniError = e
				said.Code = cniError.Code
			}
		}
		if err := out.Encode(said); err != nil {
			panic(err)
		}
	}
}

func serve(line []byte) (types.Result, error) {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	list, err := loadList(asked)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cni := libcni.NewCNIConfigWithCacheDir(asked.BinDirs, asked.Cache, nil)
	runtime := &libcni.RuntimeConf{
		ContainerID:    asked.ID,
		NetNS:          asked.Netns,
		IfName:         "eth0",
		Args:           asked.Args,
		CapabilityArgs: asked.Capabilities,
	}
	switch asked.Verb {
	case "ADD":
		return cni.AddNetworkList(ctx, list, runtime)
	case "CHECK":
		return nil, cni.CheckNetworkList(ctx, list, runtime)
	case "DEL":
		return nil, cni.DelNetworkList(ctx, list, runtime)
	case "CACHED":
		return cni.GetNetworkListCachedResult(list, runtime)
	case "GC":
		return nil, cni.GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: asked.Valid})
	case "STATUS":
		return nil, cni.GetStatusNetworkList(ctx, list)
	case "VALIDATE":
		_, err := cni.ValidateNetworkList(ctx, list)
		return nil, err
	}
	return nil, fmt.Errorf("no verb %q", asked.Verb)
}

// loadList reads the list, in another CNI version if one is asked for.
func loadList(asked request) (*libcni.NetworkConfigList, error) {
	bytes, err := os.ReadFile(asked.Conf)
	if err != nil {
		return nil, err
	}
	if asked.Version != "" {
		var list map[string]any
		if err := json.Unmarshal(bytes, &list); err != nil {
			return nil, err
		}
		list["cniVersion"] = asked.Version
		delete(list, "cniVersions")
		if bytes, err = json.Marshal(list); err != nil {
			return nil, err
		}
	}
	return libcni.NetworkConfFromBytes(bytes)
}
