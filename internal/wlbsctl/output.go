// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// printObject prints what scripts read.
func printObject(w io.Writer, format string, object any) error {
	content, err := json.MarshalIndent(object, "", "  ")
	if err == nil && format == "yaml" {
		content, err = yaml.JSONToYAML(content)
	}
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	_, err = fmt.Fprintln(w, strings.TrimSuffix(string(content), "\n"))
	return err
}

// knownOutput refuses a value of -o that the command does not have.
func knownOutput(format string, known ...string) error {
	if format == "" || slices.Contains(known, format) {
		return nil
	}
	return failf(ExitUsage, "--output %q is not known, use %s", format, strings.Join(known, ", "))
}

// addOutputFlag adds -o with the formats that the command has.
func addOutputFlag(cmd *cobra.Command, output *string, formats ...string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "one of "+strings.Join(formats, ", "))
	complete := func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return formats, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // only when the flag does not exist
	}
}
