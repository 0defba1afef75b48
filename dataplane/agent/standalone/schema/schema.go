// SPDX-License-Identifier: Apache-2.0

// Package schema says of a LoadBalancingCluster in a file what the API server would say of it: it runs the schema and
// the rules of the CustomResourceDefinition with the API server's own libraries.
//
// A Validator takes some megabytes and some tenths of a second to make, so only agents that read files make one. The
// cases that it is tested by are those of the API server: see files_test.go in api/v1alpha1.
package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/config/crd"
)

// Validator checks LoadBalancingClusters. It is safe for concurrent use.
type Validator struct {
	structural *structuralschema.Structural
	values     validation.SchemaValidator
	rules      *cel.Validator
}

// New compiles the CustomResourceDefinition of LoadBalancingCluster that this program was built with.
func New() (*Validator, error) {
	v, err := compile(crd.Clusters())
	if err != nil {
		return nil, fmt.Errorf("schema of LoadBalancingCluster: %w", err)
	}
	return v, nil
}

func compile(definition []byte) (*Validator, error) {
	var external apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(definition, &external); err != nil {
		return nil, err
	}
	schema, err := schemaOf(&external)
	if err != nil {
		return nil, err
	}
	var v Validator
	if v.structural, err = structuralschema.NewStructural(schema); err != nil {
		return nil, err
	}
	if v.values, _, err = validation.NewSchemaValidator(schema); err != nil {
		return nil, err
	}
	v.rules = cel.NewValidator(v.structural, true, celconfig.PerCallLimit)
	return &v, nil
}

// schemaOf returns the schema of this program's version of the API, in the form that the API server works with.
func schemaOf(definition *apiextensionsv1.CustomResourceDefinition) (*apiextensions.JSONSchemaProps, error) {
	for i := range definition.Spec.Versions {
		version := &definition.Spec.Versions[i]
		if version.Name != v1alpha1.GroupVersion.Version || version.Schema == nil || version.Schema.OpenAPIV3Schema == nil {
			continue
		}
		var schema apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema,
			&schema, nil); err != nil {
			return nil, err
		}
		return &schema, nil
	}
	return nil, fmt.Errorf("no version %s", v1alpha1.GroupVersion.Version)
}

// Check returns the cluster of a document if the API server would take it. before is the cluster of that name that is
// in force, nil for a new one: some fields must not change, and some changes are refused. Its errors name the fields.
func (v *Validator) Check(
	ctx context.Context, d *Document, before *v1alpha1.LoadBalancingCluster,
) (*v1alpha1.LoadBalancingCluster, error) {
	object := d.object.Object
	var old map[string]any
	if before != nil {
		var err error
		if old, err = runtime.DefaultUnstructuredConverter.ToUnstructured(before); err != nil {
			return nil, fmt.Errorf("the cluster in force: %w", err)
		}
		delete(old, "status")
	}
	errs := apivalidation.ValidateObjectMetaAccessor(&d.object, false, apivalidation.NameIsDNSSubdomain,
		field.NewPath("metadata"))
	errs = append(errs, validation.ValidateCustomResource(nil, object, v.values)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, object)...)
	if keepsRulesFromRunning(errs) {
		errs = append(errs, field.Invalid(nil, nil, "some rules were not checked; correct these errors first"))
	} else {
		// A nil map in an interface is not a nil interface, which stands for a new object.
		var oldObject any
		if old != nil {
			oldObject = old
		}
		violations, _ := v.rules.Validate(ctx, nil, v.structural, object, oldObject, celconfig.RuntimeCELCostBudget)
		errs = append(errs, violations...)
	}
	if len(errs) > 0 {
		return nil, joined(errs)
	}
	cluster := &v1alpha1.LoadBalancingCluster{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, cluster); err != nil {
		return nil, err
	}
	return cluster, nil
}

// keepsRulesFromRunning reports whether the API server would not evaluate rules on an object with these errors.
func keepsRulesFromRunning(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany,
			field.ErrorTypeTypeInvalid:
			return true
		default:
		}
	}
	return false
}

// joined puts errors into one line, as the API server does.
func joined(errs field.ErrorList) error {
	lines := make([]string, 0, len(errs))
	for _, err := range errs {
		lines = append(lines, strings.TrimPrefix(err.Error(), "<nil>: "))
	}
	return errors.New(strings.Join(lines, "; "))
}

// Document is a LoadBalancingCluster in the right form, which may say anything that fits into it.
type Document struct{ object unstructured.Unstructured }

// Name is the cluster's.
func (d *Document) Name() string { return d.object.GetName() }
