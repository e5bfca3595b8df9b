// Decodes kind's cluster configurations by kind's own types, strictly: a misspelt field ends it. Paths are its arguments.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"go.yaml.in/yaml/v3"
)

func main() {
	for _, path := range os.Args[1:] {
		file, err := os.Open(path)
		if err == nil {
			decoder := yaml.NewDecoder(file)
			decoder.KnownFields(true)
			err = decoder.Decode(&v1alpha4.Cluster{})
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
	}
}
