// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mirrorVariable names a Debian mirror where the machine's own apt sources have none.
const mirrorVariable = "KUBE_WLBS_DEBIAN_MIRROR"

// keyring is of the package debian-archive-keyring.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// apt is an apt of our own: suites and architectures that the machine does not use, with lists and
// downloads in a folder of the cache. The machine's own configuration of sources stays as it is.
type apt struct{ dir string }

// suite is one of Debian's that has kernels we want, and the archive that it is in.
type suite struct{ name, label string }

func suites() []suite {
	return []suite{
		{"bookworm", "Debian"},
		{"bookworm-security", "Debian-Security"},
		{"trixie-backports", "Debian"},
	}
}

// newApt writes the configuration. The mirrors are those that the machine's own sources name.
func newApt(ctx context.Context, dir string) (*apt, error) {
	a := &apt{dir: dir}
	for _, d := range []string{"lists/partial", "archives/partial", "parts"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	mirrors, err := ownMirrors(ctx)
	if err != nil {
		return nil, err
	}
	var sources strings.Builder
	for _, s := range suites() {
		mirror := mirrors[s.label]
		if mirror == "" {
			continue
		}
		fmt.Fprintf(&sources, "deb [signed-by=%s] %s %s main\n", keyring, mirror, s.name)
	}
	if sources.Len() == 0 {
		return nil, fmt.Errorf("the machine's apt sources name no mirror of Debian; set %s=URI", mirrorVariable)
	}
	return a, errors.Join(
		os.WriteFile(filepath.Join(dir, "sources.list"), []byte(sources.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "status"), nil, 0o644))
}

// ownMirrors returns by label of an archive where the machine gets it from.
func ownMirrors(ctx context.Context) (map[string]string, error) {
	if mirror := os.Getenv(mirrorVariable); mirror != "" {
		return map[string]string{"Debian": mirror, "Debian-Security": strings.TrimSuffix(mirror, "/") + "-security"}, nil
	}
	out, err := output(exec.CommandContext(ctx, "apt-get", "indextargets", "Created-By: Packages", "Origin: Debian",
		"--format", "$(LABEL) $(REPO_URI)"))
	if err != nil {
		return nil, err
	}
	mirrors := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 {
			mirrors[f[0]] = f[1]
		}
	}
	return mirrors, nil
}

func (a *apt) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	in := func(name string) string { return filepath.Join(a.dir, name) }
	options := []string{
		"Dir::Etc::sourcelist=" + in("sources.list"), "Dir::Etc::sourceparts=" + in("parts"),
		"Dir::State=" + a.dir, "Dir::State::lists=" + in("lists"), "Dir::State::status=" + in("status"),
		"Dir::Cache=" + a.dir, "Dir::Cache::archives=" + in("archives"),
		"APT::Architectures::=amd64", "APT::Architectures::=arm64",
		"APT::Sandbox::User=root", "Acquire::Languages=none", "Acquire::Retries=3",
	}
	flags := []string{"-qq"}
	for _, o := range options {
		flags = append(flags, "-o", o)
	}
	cmd := exec.CommandContext(ctx, program, append(flags, args...)...)
	cmd.Dir = in("archives")
	return cmd
}

// update fetches the lists of packages.
func (a *apt) update(ctx context.Context) error {
	_, err := output(a.command(ctx, "apt-get", "update"))
	return err
}

// download fetches packages and returns their paths.
func (a *apt) download(ctx context.Context, packages ...debianPackage) ([]string, error) {
	var names, files []string
	for _, p := range packages {
		names = append(names, fmt.Sprintf("%s:%s=%s", p.name, p.arch, p.version))
		files = append(files, filepath.Join(a.dir, "archives", filepath.Base(p.file)))
	}
	_, err := output(a.command(ctx, "apt-get", append([]string{"download"}, names...)...))
	for i, f := range files {
		// apt escapes what its file names must not have, in its own way.
		if found, _ := filepath.Glob(filepath.Join(a.dir, "archives",
			packages[i].name+"_*_"+packages[i].arch+".deb")); len(found) > 0 {
			files[i] = found[len(found)-1]
		} else if err == nil {
			err = fmt.Errorf("%s was not downloaded", f)
		}
	}
	return files, err
}

// debianPackage is one of the lists.
type debianPackage struct{ name, arch, version, file string }

// kernelName is how Debian names a kernel for all machines: neither those of clouds, nor real-time,
// nor with large pages. Since 6.19 an image is a linux-binary, and modules are in a package of their own.
var kernelName = regexp.MustCompile(`^linux-(image|binary)-(\d+)\.(\d+)\.\d[0-9.]*([-+][a-z0-9]+)?-(amd64|arm64)$`)

// kernels lists all that the suites have for an architecture.
func (a *apt) kernels(ctx context.Context, arch string) ([]debianPackage, error) {
	var names []string
	for _, prefix := range []string{"linux-image-", "linux-binary-"} {
		out, err := output(a.command(ctx, "apt-cache", "pkgnames", prefix))
		if err != nil {
			return nil, err
		}
		for name := range strings.FieldsSeq(out) {
			if kernelName.MatchString(name) && strings.HasSuffix(name, "-"+arch) {
				names = append(names, name+":"+arch)
			}
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	return a.show(ctx, names...)
}

func (a *apt) show(ctx context.Context, names ...string) ([]debianPackage, error) {
	out, err := output(a.command(ctx, "apt-cache", append([]string{"show"}, names...)...))
	if err != nil {
		return nil, err
	}
	return parsePackages(out), nil
}

// parsePackages reads stanzas as "apt-cache show" prints them.
func parsePackages(text string) []debianPackage {
	var all []debianPackage
	var p debianPackage
	in := bufio.NewScanner(strings.NewReader(text + "\n\n"))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		key, value, _ := strings.Cut(in.Text(), ": ")
		switch key {
		case "Package":
			p.name = value
		case "Architecture":
			p.arch = value
		case "Version":
			p.version = value
		case "Filename":
			p.file = value
		case "":
			if p.file != "" { // virtual ones have none
				all = append(all, p)
			}
			p = debianPackage{}
		}
	}
	return all
}

// newest returns the package with the highest version of a series such as "6.12"; empty means of all.
// An image that only leads to a linux-binary is none.
func newest(all []debianPackage, series string) (debianPackage, bool) {
	var best debianPackage
	for _, p := range all {
		kind, of := kindAndSeries(p.name)
		if kind == "" || (series != "" && of != series) || (kind == "image" && !isImage(of)) {
			continue
		}
		if best.name == "" || slices.Compare(numbers(p.version), numbers(best.version)) > 0 {
			best = p
		}
	}
	return best, best.name != ""
}

// kindAndSeries of a kernel's package, such as "image" and "6.12"; empty if it is none.
func kindAndSeries(name string) (kind, series string) {
	m := kernelName.FindStringSubmatch(name)
	if len(m) == 0 {
		return "", ""
	}
	return m[1], m[2] + "." + m[3]
}

// isImage reports whether a linux-image of a series holds a kernel itself.
func isImage(series string) bool { return slices.Compare(numbers(series), []int{6, 19}) < 0 }

// numbers are those of a version in their order: enough to compare versions of one package.
func numbers(version string) []int {
	var out []int
	for _, s := range regexp.MustCompile(`\d+`).FindAllString(version, -1) {
		if n, err := strconv.Atoi(s); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// withModules returns what is to be unpacked for an image: it alone, or with its modules.
func withModules(image debianPackage) []string {
	names := []string{image.name + ":" + image.arch}
	if rest, ok := strings.CutPrefix(image.name, "linux-binary-"); ok {
		names = append(names, "linux-modules-"+rest+":"+image.arch)
	}
	return names
}
