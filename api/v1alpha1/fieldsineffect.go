// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import "fmt"

// FieldsWithoutEffect names the settings of a spec that are valid but without effect in this version, as JSON paths with
// their values. This is the only list of them: a field that begins to work is removed here and in its own documentation.
func FieldsWithoutEffect(spec *LoadBalancingClusterSpec) []string {
	var fields []string
	add := func(format string, args ...any) { fields = append(fields, fmt.Sprintf(format, args...)) }

	for i := range spec.PortRules {
		if r := &spec.PortRules[i]; r.AffinityTimeoutSeconds != nil {
			add("spec.portRules[%s].affinityTimeoutSeconds=%d", r.Name, *r.AffinityTimeoutSeconds)
		}
	}
	return fields
}
