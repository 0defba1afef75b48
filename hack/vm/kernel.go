// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Kernel is one that tests run on.
type Kernel struct {
	// Name on the command line and in results.
	Name string
	// Arch is Debian's word, which is Go's.
	Arch string
	// Series of the kernel, such as "6.12"; empty means the newest there is.
	Series string
	// Lacks are features that this kernel cannot have: tests of these may skip, and no others.
	Lacks []string
}

// kernels are those that users of today have, the lowest that the agent takes first.
func kernels() []Kernel {
	return []Kernel{
		{Name: "6.1", Arch: "amd64", Series: "6.1", Lacks: []string{"tcx"}},
		{Name: "6.12", Arch: "amd64", Series: "6.12"},
		{Name: "newest", Arch: "amd64"},
		{Name: "6.12-arm64", Arch: "arm64", Series: "6.12"},
	}
}

func kernelNamed(name string) (Kernel, error) {
	var names []string
	for _, k := range kernels() {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kernel{}, fmt.Errorf("no kernel %q, there are %v", name, names)
}

// freshness is how long a kernel is taken for the newest of its series.
const freshness = 7 * 24 * time.Hour

// Unpacked is a kernel in the cache.
type Unpacked struct {
	// Version is the Debian package's, Release the kernel's own, as uname prints it.
	Version, Release string
	// Folder holds vmlinuz and lib/modules.
	Folder string
}

// cache is the folder that kernels and archives are kept in.
func cache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(base, "kube-wlbs", "vm"), nil
}

// fetch returns the newest kernel of its series, from the cache if it was looked up within a week.
// Where the mirror cannot be asked, what is in the cache has to do.
func (k Kernel) fetch(ctx context.Context) (Unpacked, error) {
	dir, err := cache()
	if err != nil {
		return Unpacked{}, err
	}
	known := filepath.Join(dir, k.Name+".json")
	u, age := readKnown(known)
	if age < freshness {
		return u, nil
	}
	found, err := k.fetchNow(ctx, dir)
	if err != nil {
		if u.Folder == "" || ctx.Err() != nil {
			return Unpacked{}, fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		step("kernel %s: taking %s of the cache, for: %v", k.Name, u.Version, err)
		return u, nil
	}
	if u.Folder != "" && u.Folder != found.Folder {
		err = os.RemoveAll(u.Folder)
	}
	content, jsonErr := json.MarshalIndent(found, "", "  ")
	return found, errors.Join(err, jsonErr, os.WriteFile(known, append(content, '\n'), 0o644))
}

// readKnown returns what was found last, and how long ago; ages, if nothing was or it is not there any more.
func readKnown(path string) (u Unpacked, age time.Duration) {
	const ages = 1 << 62
	info, err := os.Stat(path)
	if err != nil {
		return Unpacked{}, ages
	}
	content, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(content, &u) != nil {
		return Unpacked{}, ages
	}
	if _, err := os.Stat(u.image()); err != nil {
		return Unpacked{}, ages
	}
	return u, time.Since(info.ModTime())
}

func (u Unpacked) image() string { return filepath.Join(u.Folder, "vmlinuz") }

// fetchNow asks the mirror. A version that left it between list and download is looked up once more.
func (k Kernel) fetchNow(ctx context.Context, dir string) (Unpacked, error) {
	a, err := newApt(ctx, filepath.Join(dir, "apt"))
	if err != nil {
		return Unpacked{}, err
	}
	for attempt := 1; ; attempt++ {
		u, err := k.fetchListed(ctx, a, dir)
		if err == nil || attempt == 2 {
			return u, err
		}
		step("kernel %s: once more, for: %v", k.Name, err)
	}
}

func (k Kernel) fetchListed(ctx context.Context, a *apt, dir string) (Unpacked, error) {
	if err := a.update(ctx); err != nil {
		return Unpacked{}, err
	}
	all, err := a.kernels(ctx, k.Arch)
	if err != nil {
		return Unpacked{}, err
	}
	image, ok := newest(all, k.Series)
	if !ok {
		return Unpacked{}, fmt.Errorf("no kernel of series %q for %s among %d packages", k.Series, k.Arch, len(all))
	}
	u := Unpacked{Version: image.version, Folder: filepath.Join(dir, "kernels", image.name)}
	if u.Release, err = releaseOf(u.Folder); err == nil {
		return u, nil
	}
	packages, err := a.show(ctx, withModules(image)...)
	if err != nil {
		return Unpacked{}, err
	}
	step("kernel %s: fetching %s", k.Name, image.name)
	debs, err := a.download(ctx, only(packages, image.version)...)
	if err != nil {
		return Unpacked{}, err
	}
	if u.Release, err = unpack(ctx, u.Folder, debs...); err != nil {
		return Unpacked{}, err
	}
	for _, deb := range debs {
		err = errors.Join(err, os.Remove(deb))
	}
	return u, err
}

// only drops other versions of the same packages.
func only(packages []debianPackage, version string) []debianPackage {
	var out []debianPackage
	for _, p := range packages {
		if p.version == version {
			out = append(out, p)
		}
	}
	return out
}

// releaseOf an unpacked kernel is the name of its folder of modules.
func releaseOf(folder string) (string, error) {
	if _, err := os.Stat(filepath.Join(folder, "vmlinuz")); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(filepath.Join(folder, "lib/modules"))
	if err != nil {
		return "", err
	}
	if len(entries) != 1 {
		return "", fmt.Errorf("%s holds modules of %d kernels", folder, len(entries))
	}
	return entries[0].Name(), nil
}
