// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"os"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

func crds(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	found := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, plural := range []string{"loadbalancingclusters", "loadbalancinghosts"} {
		content, err := os.ReadFile(kubetest.Path("config", "crd", "bases", "wlbs.dev_"+plural+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(content, crd); err != nil {
			t.Fatal(err)
		}
		found[plural] = crd
	}
	return found
}

func walk(path string, schema *apiextensionsv1.JSONSchemaProps, visit func(path string, schema *apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	for name := range schema.Properties {
		property := schema.Properties[name]
		walk(path+"."+name, &property, visit)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		walk(path+"[]", schema.Items.Schema, visit)
	}
}

// What Kubernetes' own types bring along has its own conventions.
func foreign(path string) bool {
	return path == "" || path == ".apiVersion" || path == ".kind" || strings.HasPrefix(path, ".metadata") || strings.HasPrefix(path, ".spec.nodeSelector.") ||
		strings.HasPrefix(path, ".spec.tolerations[]") || strings.HasPrefix(path, ".status.conditions[]")
}

func TestEveryFieldIsDocumented(t *testing.T) {
	for plural, crd := range crds(t) {
		walk("", crd.Spec.Versions[0].Schema.OpenAPIV3Schema, func(path string, schema *apiextensionsv1.JSONSchemaProps) {
			if strings.HasSuffix(path, "[]") {
				return
			}
			// The API server itself describes the metadata, see TestKubectlExplain.
			if schema.Description == "" && path != ".metadata" {
				t.Errorf("%s%s has no description", plural, path)
			}
			name := path[strings.LastIndex(path, ".")+1:]
			if !foreign(path) && !strings.HasPrefix(schema.Description, name+" ") {
				t.Errorf("the description of %s%s does not begin with %q: %s", plural, path, name, schema.Description)
			}
		})
	}
}

func TestEveryFieldIsBounded(t *testing.T) {
	for plural, crd := range crds(t) {
		walk("", crd.Spec.Versions[0].Schema.OpenAPIV3Schema, func(path string, schema *apiextensionsv1.JSONSchemaProps) {
			if foreign(path) {
				return
			}
			switch {
			case schema.Type == "array" && (schema.MaxItems == nil || schema.XListType == nil):
				t.Errorf("list %s%s has no maxItems or no list type", plural, path)
			case schema.Type == "string" && schema.Format == "" && schema.Enum == nil && (schema.MaxLength == nil || schema.MinLength == nil):
				t.Errorf("string %s%s has no enum and no length", plural, path)
			case schema.Type == "integer" && schema.Minimum == nil:
				t.Errorf("integer %s%s has no minimum", plural, path)
			case schema.Type == "boolean" || schema.Type == "number":
				t.Errorf("%s%s is a %s: use an enum or an integer", plural, path, schema.Type)
			case schema.Default != nil:
				t.Errorf("%s%s has a default in the schema: unset must keep meaning that the user did not say", plural, path)
			}
		})
	}
}

func TestKubectlExplain(t *testing.T) {
	for _, kind := range []string{"lbc", "lbh"} {
		out := explain(t, "--recursive", kind)
		for _, want := range []string{"spec", "status", "hostID", "conditions"} {
			if !strings.Contains(out, want) {
				t.Errorf("kubectl explain %s does not show %s", kind, want)
			}
		}
	}
	for field, want := range map[string]string{"lbc.spec.portRules.affinity": "Q229064", "lbc.metadata": "Standard object's metadata"} {
		if out := explain(t, field); strings.Contains(out, "<empty>") || !strings.Contains(out, want) {
			t.Errorf("kubectl explain %s:\n%s", field, out)
		}
	}
}

// explain asks until the API server, some time after it got the CRDs, publishes what they say.
func explain(t *testing.T, args ...string) string {
	t.Helper()
	var out string
	kubetest.Eventually(t, func() (err error) {
		out, err = server.Kubectl(t, append([]string{"explain"}, args...)...)
		return err
	})
	return out
}

func TestKubectlShortNamesAndCategory(t *testing.T) {
	for _, resource := range []string{"lbc", "lbh", "wlbs"} {
		if _, err := server.Kubectl(t, "get", resource); err != nil {
			t.Error(err)
		}
	}
}
