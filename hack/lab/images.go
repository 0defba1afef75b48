// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"strings"
)

// HasImage reports whether the engine has an image of that name.
func (l *Lab) HasImage(ctx context.Context, name string) bool {
	_, err := l.engine(ctx, "image", "inspect", name)
	return err == nil
}

// LoadImage gives an archive to the engine, and removes the images of the same
// repository that no container uses: results of other inputs.
func (l *Lab) LoadImage(ctx context.Context, archive, repository string) error {
	old, err := l.engine(ctx, "image", "ls", "--quiet", "--filter", "reference="+repository+":*")
	if err != nil {
		return err
	}
	if _, err := l.engine(ctx, "load", "--quiet", "--input", archive); err != nil {
		return fmt.Errorf("load %s: %w", archive, err)
	}
	for id := range strings.FieldsSeq(old) {
		// Refused while a container uses it; it goes the next time.
		_, _ = l.engine(ctx, "image", "rm", id)
	}
	return nil
}
