// SPDX-License-Identifier: Apache-2.0

// Command lint is golangci-lint with the Kubernetes API linter built in.
//
// A module plugin has to be compiled into golangci-lint; `golangci-lint custom`
// does that by cloning a repository at run time. This program is the same, with
// every version pinned by go.mod and go.sum.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/golangci/golangci-lint/v2/pkg/commands"
	"github.com/golangci/golangci-lint/v2/pkg/exitcodes"
	_ "sigs.k8s.io/kube-api-linter" // registers the linter "kubeapilinter"
)

func main() {
	if err := commands.Execute(buildInfo()); err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(exitcodes.Failure)
	}
}

// buildInfo reports golangci-lint's own version, which its configuration check
// and its cache key depend on.
func buildInfo() commands.BuildInfo {
	info := commands.BuildInfo{Version: "(unknown)", Commit: "(module)", Date: "(pinned)"}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	info.GoVersion = build.GoVersion
	for _, dep := range build.Deps {
		if dep.Path == "github.com/golangci/golangci-lint/v2" {
			info.Version = dep.Version
		}
	}
	return info
}
