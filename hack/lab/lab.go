// SPDX-License-Identifier: Apache-2.0

// Package lab is the machine's side of the test cluster: the container engine
// that runs kind's nodes, the Ethernet segment they share, and the ways to make
// nodes and links fail.
//
// Two kinds of machine are served. Where Docker or Podman works, its own network
// is used as it is. Elsewhere (no daemon, no CAP_SYS_RESOURCE, cgroup v1 beside
// v2) the lab is isolated: Podman with files of its own, in a network namespace of
// its own, so that the machine's network and firewall stay as they are. What talks
// to nodes must then run inside that namespace: see Enter.
package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DefaultName is the cluster's name unless the environment names another in
// KUBE_WLBS_CLUSTER. Clusters of different names can be there at once, on one
// segment.
const DefaultName = "kube-wlbs"

// Lab describes one test cluster's surroundings. It is written to Dir when the
// cluster is made, and read back by whoever works with the cluster.
type Lab struct {
	// Name is the kind cluster's name and the prefix of its nodes' names.
	Name string `json:"name"`
	// Engine is the program that runs the nodes: docker or podman.
	Engine string `json:"engine"`
	// Isolated tells that engine and nodes live in a network namespace of their own.
	Isolated bool `json:"isolated"`
	// NodeImage is the image the nodes were made from.
	NodeImage string `json:"nodeImage,omitempty"`
	// Programs is a folder with kubectl; empty where the one on PATH is used.
	Programs string `json:"programs,omitempty"`

	cache string
}

// ErrNoCluster is returned by Open where no cluster was made.
var ErrNoCluster = errors.New("there is no test cluster: make one with `make cluster-up`")

// Name is the name of the cluster to work with.
func Name() string {
	if name := os.Getenv("KUBE_WLBS_CLUSTER"); name != "" {
		return name
	}
	return DefaultName
}

// CacheDir is where everything is kept that is worth keeping between runs.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(base, "kube-wlbs"), nil
}

// newLab is a lab of which nothing is known but its name and place.
func newLab() (*Lab, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	return &Lab{Name: Name(), cache: cache}, nil
}

// Open reads the description of the cluster that was made last under Name.
func Open() (*Lab, error) {
	l, err := newLab()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(l.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoCluster
	} else if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, l); err != nil {
		return nil, fmt.Errorf("read %s: %w", l.file(), err)
	}
	return l, nil
}

// Save writes the description for Open.
func (l *Lab) Save() error {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.Dir(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.file(), append(text, '\n'), 0o644)
}

// Begun reports whether there can be any cluster: an isolated lab has files.
func (l *Lab) Begun() bool {
	if !l.Isolated {
		return true
	}
	_, err := os.Stat(l.enginePath())
	return err == nil
}

// Forget removes the description and the kubeconfig.
func (l *Lab) Forget() error {
	return errors.Join(removeFile(l.file()), removeFile(l.Kubeconfig()), removeFile(l.Dir()))
}

// Dir holds the files of this cluster.
func (l *Lab) Dir() string { return filepath.Join(l.cache, "clusters", l.Name) }

// OpenLock opens the file by which whoever makes or removes clusters keeps others
// from doing so.
func (l *Lab) OpenLock() (*os.File, error) {
	if err := os.MkdirAll(l.cache, 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(l.cache, "lab.lock"), os.O_CREATE|os.O_RDWR, 0o644)
}

// Kubeconfig is the file that leads to the cluster's API server.
func (l *Lab) Kubeconfig() string { return filepath.Join(l.Dir(), "kubeconfig") }

func (l *Lab) file() string { return filepath.Join(l.Dir(), "lab.json") }

// Environ is the environment for programs that work with the cluster: kubectl,
// the engine's client and kind.
func (l *Lab) Environ() []string {
	env := append(os.Environ(),
		"KUBE_WLBS_CLUSTER="+l.Name,
		"KUBECONFIG="+l.Kubeconfig(),
		"KIND_EXPERIMENTAL_PROVIDER="+l.Engine,
	)
	if l.Programs != "" {
		env = append(env, "PATH="+l.Programs+":"+os.Getenv("PATH"))
	}
	if l.Isolated {
		env = append(env,
			"CONTAINERS_CONF="+l.enginePath("containers.conf"),
			"CONTAINERS_STORAGE_CONF="+l.enginePath("storage.conf"),
		)
	}
	return env
}

func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
