// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// MaxSize is the most bytes that a file may have, as a request to the API server.
const MaxSize = 3 << 20

// Decode reads a LoadBalancingCluster in YAML or JSON. It refuses what kubectl and the API server would: fields that
// are unknown or repeated, and values of the wrong type.
func (v *Validator) Decode(content []byte) (*Document, error) {
	content, err := onlyDocument(content)
	if err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(asJSON, &object); err != nil {
		return nil, errors.New("is no object with fields: want a LoadBalancingCluster")
	}
	d := &Document{object: unstructured.Unstructured{Object: object}}
	if d.object.GetAPIVersion() != v1alpha1.GroupVersion.String() || d.object.GetKind() != "LoadBalancingCluster" {
		return nil, fmt.Errorf("is %s %s: want apiVersion %s and kind LoadBalancingCluster",
			orMissing(d.object.GetAPIVersion()), orMissing(d.object.GetKind()), v1alpha1.GroupVersion)
	}
	if err := v.normalize(object); err != nil {
		return nil, err
	}
	if d.Name() == "" {
		return nil, errors.New("metadata.name is missing: give the cluster a name")
	}
	return d, nil
}

func orMissing(word string) string {
	if word == "" {
		return "(missing)"
	}
	return word
}

// normalize brings an object into the form that the API server would store, and refuses fields that it does not know.
func (v *Validator) normalize(object map[string]any) error {
	meta, _, unknown, err := objectmeta.GetObjectMetaWithOptions(object,
		objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	unknown = append(unknown, pruning.PruneWithOptions(object, v.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	if len(unknown) > 0 {
		return fmt.Errorf("unknown field %s: correct its name or remove it", strings.Join(unknown, ", "))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, v.structural)
	defaulting.Default(object, v.structural)
	delete(object, "status") // as the API server does: it is the agent's
	if meta == nil {
		return errors.New("metadata.name is missing: give the cluster a name")
	}
	return objectmeta.SetObjectMeta(object, meta)
}

// onlyDocument returns the one YAML document in content: what stands after it would be passed over in silence
// otherwise.
func onlyDocument(content []byte) ([]byte, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var only []byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if isBlank(document) {
			continue
		}
		if only != nil {
			return nil, errors.New("has more than one document: write each LoadBalancingCluster to a file of its own")
		}
		only = document
	}
	if only == nil {
		return nil, errors.New("is empty")
	}
	return only, nil
}

// isBlank reports whether nothing but comments and separators is in a YAML document.
func isBlank(document []byte) bool {
	for line := range bytes.Lines(document) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) && !bytes.Equal(line, []byte("...")) {
			return false
		}
	}
	return true
}
