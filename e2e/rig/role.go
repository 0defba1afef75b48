// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"encoding/json"
	"fmt"
	"os"
)

const (
	roleVariable   = "WLBS_RIG_ROLE"
	configVariable = "WLBS_RIG_CONFIG"
)

// Main must be the first call of every program that builds a rig. The rig runs the program anew inside its
// namespaces, as server or client; in such a process Main does not return.
func Main() {
	role := os.Getenv(roleVariable)
	if role == "" {
		return
	}
	var err error
	switch role {
	case "server":
		err = runServer(os.Getenv(configVariable))
	case "client":
		err = runClient(os.Getenv(configVariable))
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "rig %s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// roleEnv is the environment of a process with a role.
func roleEnv(role string, config any) []string {
	content, err := json.Marshal(config)
	if err != nil {
		content = nil // plain structs of strings and numbers always marshal
	}
	return []string{roleVariable + "=" + role, configVariable + "=" + string(content)}
}
