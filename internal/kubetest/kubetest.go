// SPDX-License-Identifier: Apache-2.0

// Package kubetest starts a real API server with the CRDs of this repository for tests. Validation rules, printer
// columns, field ownership and admission policies only exist there: a fake client knows none of them.
package kubetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// assetsVariable names the directory that holds kube-apiserver, etcd and kubectl.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Server is an API server with etcd that all tests of a package share. It starts when the first test asks for it.
type Server struct {
	once       sync.Once
	env        *envtest.Environment
	config     *rest.Config
	kubeconfig string
	err        error
}

// Main runs the tests of a package and stops the server afterwards. It returns the exit code.
func (s *Server) Main(m *testing.M) int {
	code := m.Run()
	if err := s.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "test API server:", err)
		return max(code, 1)
	}
	return code
}

// Config returns how to reach the server as administrator. It skips the test where there are no binaries to start,
// and fails it where CI must have them.
func (s *Server) Config(tb testing.TB) *rest.Config {
	tb.Helper()
	if os.Getenv(assetsVariable) == "" {
		const why = assetsVariable + " does not name a directory with kube-apiserver, etcd and kubectl"
		if os.Getenv("CI") == "true" {
			tb.Fatal(why)
		}
		tb.Skip(why)
	}
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		tb.Fatalf("test API server: %v", s.err)
	}
	return rest.CopyConfig(s.config)
}

// Kubeconfig returns the path of a file that says how to reach the server as administrator.
func (s *Server) Kubeconfig(tb testing.TB) string {
	tb.Helper()
	s.Config(tb)
	return s.kubeconfig
}

// Kubectl runs the real kubectl as administrator and returns what it prints on stdout.
func (s *Server) Kubectl(tb testing.TB, args ...string) (string, error) {
	tb.Helper()
	s.Config(tb)
	//nolint:gosec // Whoever runs the tests says which kubectl to run.
	cmd := exec.CommandContext(tb.Context(), filepath.Join(os.Getenv(assetsVariable), "kubectl"),
		append([]string{"--kubeconfig", s.kubeconfig}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %v: %w: %s", args, err, stderr.String())
	}
	return stdout.String(), nil
}

func (s *Server) start() error {
	s.env = &envtest.Environment{
		CRDDirectoryPaths:     []string{Path("config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := s.env.Start()
	if err != nil {
		return err
	}
	// Tests poll and write in bursts; the client's own limit would only make them slow.
	config.QPS = -1
	s.config = config
	return s.writeKubeconfig()
}

func (s *Server) writeKubeconfig() error {
	file, err := os.CreateTemp("", "kubetest-*.kubeconfig")
	if err != nil {
		return err
	}
	s.kubeconfig = file.Name()
	_, err = file.Write(s.env.KubeConfig)
	return errors.Join(err, file.Close())
}

func (s *Server) stop() error {
	if s.env == nil {
		return nil
	}
	err := s.env.Stop()
	if s.kubeconfig != "" {
		err = errors.Join(err, os.Remove(s.kubeconfig))
	}
	return err
}

// Path returns the path of a file of this repository. Tests run in the directory of their package, somewhere below its
// root.
func Path(elements ...string) string {
	root := "."
	for range 16 {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		root = filepath.Join(root, "..")
	}
	return filepath.Join(append([]string{root}, elements...)...)
}
