// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/hack/vm/job"
)

// root is what a machine has as its root file system.
type root struct {
	// guest is the first process.
	guest string
	// kernel gives the modules.
	kernel Unpacked
	// arch of the machine. One of this machine's also gets its network tools.
	arch string
	// files by their path in the machine.
	files map[string]string
	job   job.Job
}

// tools that tests call; those that are missing here are missing there.
func tools() []string {
	return []string{"sh", "cat", "ip", "tc", "bridge", "ss", "nft", "ethtool", "sysctl", "tcpdump", "curl"}
}

// write makes the archive.
func (r *root) write(ctx context.Context, path string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	a := newArchive(out)
	for _, folder := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/var"} {
		a.folder(folder)
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		a.folder("/usr/" + name)
		a.link("/"+name, "usr/"+name)
	}
	a.link("/var/run", "../run")
	a.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	a.text("/etc/group", "root:x:0:\n")
	a.text("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
	a.add("/init", r.guest)
	a.link("/usr/sbin/modprobe", "../../init")
	if r.arch == runtime.GOARCH {
		if err := addTools(ctx, a); err != nil {
			return err
		}
	}
	modules := filepath.Join(r.kernel.Folder, "lib/modules")
	if err := addFolder(a, "/usr/lib/modules", modules); err != nil {
		return err
	}
	for at, source := range r.files {
		if err := addFolder(a, at, source); err != nil {
			return err
		}
	}
	content, err := json.Marshal(r.job)
	if err != nil {
		return err
	}
	a.text(job.File, string(content))
	return a.close()
}

// addFolder adds a file, or all files below a folder.
func addFolder(a *archive, at, source string) error {
	return filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		below, err := filepath.Rel(source, file)
		if err == nil {
			a.add(filepath.Join(at, below), file)
		}
		return err
	})
}

func addTools(ctx context.Context, a *archive) error {
	for _, name := range tools() {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		at, err := place(program)
		if err != nil {
			return err
		}
		a.add(at, program)
		libraries, err := librariesOf(ctx, program)
		if err != nil {
			return err
		}
		for _, l := range libraries {
			at, err := place(l)
			if err != nil {
				return err
			}
			a.add(at, l)
		}
	}
	const names = "/etc/iproute2" // of protocols and tables
	if !exists(names) {
		return nil
	}
	return addFolder(a, names, names)
}

// place is a file's path with the links above it followed, since /lib is one to /usr/lib there, too.
func place(file string) (string, error) {
	folder, err := filepath.EvalSymlinks(filepath.Dir(file))
	return filepath.Join(folder, filepath.Base(file)), err
}

var library = regexp.MustCompile(`/\S+\.so\S*`)

// librariesOf a program that is linked dynamically.
func librariesOf(ctx context.Context, program string) ([]string, error) {
	out, err := output(exec.CommandContext(ctx, "ldd", program))
	if err != nil {
		if strings.Contains(err.Error(), "not a dynamic executable") {
			return nil, nil
		}
		return nil, err
	}
	return library.FindAllString(out, -1), nil
}
