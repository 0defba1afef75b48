// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone/schema"
)

// The tests in this file run the cases of validation_test.go on files, which agents check without an API server: both refuse and
// take the same.

func newValidator(t *testing.T) *schema.Validator {
	t.Helper()
	v, err := schema.New()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// checkFile is what an agent does with a file. before is the cluster in force, nil for none.
func checkFile(t *testing.T, v *schema.Validator, content string, before *v1alpha1.LoadBalancingCluster) (*v1alpha1.LoadBalancingCluster, error) {
	t.Helper()
	document, err := v.Decode([]byte(content))
	if err != nil {
		return nil, err
	}
	return v.Check(t.Context(), document, before)
}

func TestFileValidationOfNewClusters(t *testing.T) {
	v := newValidator(t)
	for _, tc := range clusterCases() {
		t.Run(tc.name, func(t *testing.T) {
			_, err := checkFile(t, v, tc.object, nil)
			checkChange(t, updateCase{name: tc.name, wantError: tc.wantError}, err)
		})
	}
}

func TestFileValidationOfChanges(t *testing.T) {
	v := newValidator(t)
	for _, tc := range updateCases() {
		if strings.Contains(tc.before, "kind: LoadBalancingHost") {
			continue // no file has one
		}
		t.Run(tc.name, func(t *testing.T) {
			before, err := checkFile(t, v, tc.before, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = checkFile(t, v, tc.after, before)
			checkChange(t, tc, err)
		})
	}
}

// strictCases are refused before any rule is looked at.
func strictCases() []createCase {
	return []createCase{
		{"valid", cluster(), ""},
		{"unknown field", named("web", "virtualIps: [192.0.2.10]"), "spec.virtualIps"},
		{"unknown field in a list", rules("{name: http, ports: {from: 80, to: 80}, affinty: None}"), "spec.portRules[0].affinty"},
		{"unknown field of the metadata", strings.Replace(cluster(), "metadata: {", "metadata: {lables: {}, ", 1), "metadata.lables"},
		{"unknown field beside the spec", strings.Replace(cluster(), "spec: {", "specs: {}, spec: {", 1), "specs"},
		{"repeated field", cluster("mode: Unicast", "mode: Multicast"), "mode"},
		{"repeated spec", strings.Replace(cluster(), "spec: {", "spec: {}, spec: {", 1), "spec"},
		{"text for a number", cluster("heartbeat: {tolerance: five}"), "spec.heartbeat.tolerance"},
		{"fraction for a number", cluster("heartbeat: {tolerance: 5.5}"), "spec.heartbeat.tolerance"},
		{"number for a text", cluster("interface: 7"), "spec.interface"},
		{"one for a list", named("web", "virtualIPs: 192.0.2.10"), "spec.virtualIPs"},
		{"null for a list", named("web", "virtualIPs: null"), "spec.virtualIPs"},
		{"null for what may be left out", cluster("heartbeat: null", "interface: null"), ""},
		{"name with a space", strings.Replace(cluster(), `"web"`, `"my web"`, 1), "metadata.name"},
		{"no name", strings.Replace(cluster(), `name: "web"`, "labels: {}", 1), "name"},
		{"status is passed over", strings.Replace(cluster(), "spec: {", "status: {virtualIPs: [192.0.2.99]}, spec: {", 1), ""},
	}
}

func TestStrictValidation(t *testing.T) {
	v := newValidator(t)
	for _, tc := range strictCases() {
		t.Run(tc.name, func(t *testing.T) {
			_, err := checkFile(t, v, tc.object, nil)
			checkChange(t, updateCase{name: tc.name, wantError: tc.wantError}, err)
		})
	}
}

func TestStrictValidationOfTheServer(t *testing.T) {
	config := rest.CopyConfig(server.Config(t))
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &v1alpha1.GroupVersion, "/apis", clientgoscheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range strictCases() {
		t.Run(tc.name, func(t *testing.T) {
			answer := c.Post().Resource("loadbalancingclusters").SetHeader("Content-Type", "application/yaml").
				Param("dryRun", "All").Param("fieldValidation", "Strict").Body([]byte(tc.object)).Do(t.Context())
			err := answer.Error()
			if raw, _ := answer.Raw(); err != nil && raw != nil {
				err = fmt.Errorf("%w: %s", err, raw)
			}
			checkChange(t, updateCase{name: tc.name, wantError: tc.wantError}, err)
		})
	}
}

func TestFilesOfAnotherKind(t *testing.T) {
	v := newValidator(t)
	for name, test := range map[string]struct{ content, want string }{
		"empty":          {"", "is empty"},
		"only a comment": {"# later\n---\n...\n", "is empty"},
		"no object":      {"just text\n", "want a LoadBalancingCluster"},
		"a list":         {"- 1\n", "want a LoadBalancingCluster"},
		"no YAML":        {"spec: [\n", "yaml"},
		"another kind":   {"apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", "is v1 Service: want apiVersion wlbs.dev/v1alpha1"},
		"no kind":        {"apiVersion: wlbs.dev/v1alpha1\nmetadata: {name: web}\n", "is wlbs.dev/v1alpha1 (missing)"},
		"two documents":  {cluster() + "\n---\n" + named("other", "virtualIPs: [192.0.2.11]") + "\n", "more than one document"},
		"a host":         {host("web.node-a", "clusterName: web, nodeName: node-a, hostID: 1"), "kind LoadBalancingCluster"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := checkFile(t, v, test.content, nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
	for name, content := range map[string]string{
		"separators": "---\n# the web cluster\n" + cluster() + "\n...\n",
		"JSON":       `{"apiVersion": "wlbs.dev/v1alpha1", "kind": "LoadBalancingCluster", "metadata": {"name": "web"}, "spec": {"virtualIPs": ["192.0.2.10"]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := checkFile(t, v, content, nil); err != nil || c.Name != "web" || len(c.Spec.VirtualIPs) != 1 {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}
