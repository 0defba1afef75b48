// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// unpack takes vmlinuz and the modules that we want out of Debian's packages, without installing them,
// and returns the kernel's release. The folder appears under its name when it is complete.
func unpack(ctx context.Context, folder string, debs ...string) (release string, err error) {
	part := folder + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	for _, deb := range debs {
		if err := unpackPackage(ctx, part, deb); err != nil {
			return "", fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	release, err = releaseOf(part)
	if err != nil {
		return "", err
	}
	if err := decompress(ctx, part); err != nil {
		return "", err
	}
	if _, err := output(exec.CommandContext(ctx, "depmod", "-b", part, release)); err != nil {
		return "", err
	}
	return release, os.Rename(part, folder)
}

func unpackPackage(ctx context.Context, folder, deb string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = unpackTar(folder, tar.NewReader(out))
	_, drainErr := io.Copy(io.Discard, out)
	return errors.Join(err, drainErr, cmd.Wait())
}

func unpackTar(folder string, in *tar.Reader) error {
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to := destination(header.Name)
		if header.Typeflag != tar.TypeReg || to == "" {
			continue
		}
		file := filepath.Join(folder, to)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		out, err := os.Create(file)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}

// destination is where a file of a kernel's package goes, empty if we do not want it.
func destination(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if base := path.Base(name); strings.HasPrefix(base, "vmlinuz") {
		return "vmlinuz"
	}
	name = strings.TrimPrefix(name, "usr/")
	if !strings.HasPrefix(name, "lib/modules/") {
		return ""
	}
	_, within, _ := strings.Cut(strings.TrimPrefix(name, "lib/modules/"), "/")
	switch {
	case within == "modules.builtin" || within == "modules.builtin.modinfo" || within == "modules.order":
		return name
	case strings.Contains(path.Base(within), ".ko") && isWanted(within):
		return name
	}
	return ""
}

// isWanted reports whether networking, or one of the emulated cards, may ask for a module.
func isWanted(module string) bool {
	for _, not := range []string{
		"wireless", "mac80211", "bluetooth", "/nfc/", "/sunrpc/", "/ceph/", "/rds/", "/tipc/", "/smc/", "/can/", "/batman",
		"ieee802154",
		"mac802154", "6lowpan", "/rxrpc/", "/dccp/", "/atm/", "/ax25/", "/netrom/", "/rose/",
		"/ice/", "/i40e/", "/ixgb", "/iavf/", "/fm10k/", "/igc/", "/idpf/",
	} {
		if strings.Contains(module, not) {
			return false
		}
	}
	const cards = "kernel/drivers/net/"
	if rest, ok := strings.CutPrefix(module, cards); ok && !strings.Contains(rest, "/") {
		return true
	}
	for _, folder := range []string{
		"kernel/net", "kernel/lib", "kernel/crypto", "kernel/arch/x86/crypto", "kernel/arch/arm64/crypto",
		"kernel/drivers/virtio", "kernel/drivers/char", "kernel/drivers/ptp", "kernel/drivers/pps", "kernel/drivers/dca",
		cards + "bonding", cards + "vmxnet3", cards + "phy", cards + "mdio", cards + "ethernet/intel", cards + "netdevsim",
	} {
		if strings.HasPrefix(module, folder+"/") {
			return true
		}
	}
	return false
}

// decompress all modules below the folder: the machine then boots faster, and needs no program for it.
func decompress(ctx context.Context, folder string) error {
	byProgram := map[string][]string{}
	err := filepath.WalkDir(folder, func(file string, _ fs.DirEntry, err error) error {
		switch filepath.Ext(file) {
		case ".xz":
			byProgram["xz"] = append(byProgram["xz"], file)
		case ".zst":
			byProgram["zstd"] = append(byProgram["zstd"], file)
		}
		return err
	})
	for program, files := range byProgram {
		args := []string{"-dq"}
		if program == "zstd" {
			args = append(args, "--rm")
		}
		_, runErr := output(exec.CommandContext(ctx, program, append(args, files...)...))
		err = errors.Join(err, runErr)
	}
	return err
}
