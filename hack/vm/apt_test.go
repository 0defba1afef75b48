// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
)

const listed = `Package: linux-image-6.1.0-55-amd64
Version: 6.1.190-1
Architecture: amd64
Filename: pool/a/linux-image-6.1.0-55-amd64_6.1.190-1_amd64.deb

Package: linux-image-6.1.0-56-amd64
Version: 6.1.192-2
Architecture: amd64
Description: an image
 Version: of the description is none of the package
Filename: pool/a/linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb

Package: linux-image-6.12-amd64
Version: 6.12.200-1
Architecture: amd64
Filename: pool/a/meta.deb

Package: linux-image-6.12.117+deb12-amd64
Version: 6.12.117-1~deb12u1
Architecture: amd64
Filename: pool/a/linux-image-6.12.117.deb

Package: linux-image-6.12.99+deb12-amd64
Version: 6.12.99-1~deb12u1
Architecture: amd64
Filename: pool/a/linux-image-6.12.99.deb

Package: linux-image-7.3.4+deb13-amd64
Version: 7.3.4-1~bpo13+1
Architecture: amd64
Filename: pool/a/transitional.deb

Package: linux-binary-7.3.4+deb13-amd64
Version: 7.3.4-1~bpo13+1
Architecture: amd64
Filename: pool/a/linux-binary-7.3.4.deb

Package: linux-virtual
Version: 9.9
Architecture: amd64
`

func TestNewest(t *testing.T) {
	all := parsePackages(listed)
	if len(all) != 7 {
		t.Errorf("%d packages, want 7: %v", len(all), all)
	}
	for series, want := range map[string]string{
		"6.1":  "linux-image-6.1.0-56-amd64",
		"6.12": "linux-image-6.12.117+deb12-amd64",
		"":     "linux-binary-7.3.4+deb13-amd64",
		"5.10": "",
	} {
		if got, ok := newest(all, series); got.name != want || ok != (want != "") {
			t.Errorf("series %q: %q, want %q", series, got.name, want)
		}
	}
}

func TestKernelName(t *testing.T) {
	for name, want := range map[string]bool{
		"linux-image-6.1.0-56-amd64":              true,
		"linux-image-6.12.117+deb12-arm64":        true,
		"linux-binary-7.3.4+deb13-amd64":          true,
		"linux-image-amd64":                       false,
		"linux-image-6.12-amd64":                  false,
		"linux-image-6.1.0-56-cloud-amd64":        false,
		"linux-image-6.1.0-56-rt-amd64":           false,
		"linux-image-6.1.0-56-amd64-dbg":          false,
		"linux-image-6.1.0-56-amd64-unsigned":     false,
		"linux-binary-7.3.4+deb13-arm64-16k":      false,
		"linux-binary-7.3.4+deb13-cloud-arm64":    false,
		"linux-headers-6.1.0-56-amd64":            false,
		"linux-modules-7.3.4+deb13-amd64":         false,
		"linux-image-6.1.0-56-amd64-something-lo": false,
	} {
		if got := kernelName.MatchString(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestWithModules(t *testing.T) {
	for name, want := range map[string][]string{
		"linux-image-6.1.0-56-amd64":     {"linux-image-6.1.0-56-amd64:amd64"},
		"linux-binary-7.3.4+deb13-amd64": {"linux-binary-7.3.4+deb13-amd64:amd64", "linux-modules-7.3.4+deb13-amd64:amd64"},
	} {
		if got := withModules(debianPackage{name: name, arch: "amd64"}); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
