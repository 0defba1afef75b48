// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

// The real kubectl finds the plugin, passes its exit code on, and completes its arguments.
func TestPluginOfTheRealKubectl(t *testing.T) {
	f := newFixture(t, "plugin", "10.80.20.100", 2)
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "kubectl-wlbs"),
		"./cmd/kubectl-wlbs")
	build.Dir = kubetest.Path()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.Symlink("kubectl-wlbs", filepath.Join(dir, "kubectl_complete-wlbs")); err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	f.writeKubeconfig(kubeconfig)
	kubectl := func(args ...string) (code int, stdout, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), args...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KUBECONFIG="+kubeconfig)
		var out, errOut strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errOut
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
	}

	if code, stdout, stderr := kubectl("wlbs", "stop", "plugin:2"); code != ExitOK ||
		stdout != "Host 2 (plugin-2) of plugin: cluster mode stopped.\n" {
		t.Errorf("stop: exit code %d, %q, %q", code, stdout, stderr)
	}
	if f.desired(2) != v1alpha1.DesiredStateStopped {
		t.Errorf("host 2 is to be %s", f.desired(2))
	}
	if code, _, stderr := kubectl("wlbs", "drain", "80", "plugin:2"); code != ExitHostStopped {
		t.Errorf("drain on a stopped host: exit code %d, %q", code, stderr)
	}
	if code, stdout, stderr := kubectl("wlbs", "query", "plugin", "--context", "test"); code != ExitNotConverged ||
		!strings.Contains(stdout, "Host 1 is node plugin-1\n") {
		t.Errorf("query: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := kubectl("__complete", "wlbs", "stop", "plugin:"); code != ExitOK ||
		!strings.Contains(stdout, "plugin:1\tplugin-1") {
		t.Errorf("completion: exit code %d, %q, %q", code, stdout, stderr)
	}
}

func (f *fixture) writeKubeconfig(path string) {
	f.t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: f.config.Host, CertificateAuthorityData: f.config.CAData}
	c.AuthInfos["test"] = &clientcmdapi.AuthInfo{ClientCertificateData: f.config.CertData, ClientKeyData: f.config.KeyData,
		Token: f.config.BearerToken}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		f.t.Fatal(err)
	}
}
