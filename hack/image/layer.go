// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// rawLayer is a layer stored as the tar it is. The archives never leave the
// machine: compressing the node image would cost more than all else it takes.
type rawLayer struct {
	file string
	hash v1.Hash
	size int64
}

func newRawLayer(file string) (*rawLayer, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash, size, err := v1.SHA256(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read layer %s: %w", file, err)
	}
	return &rawLayer{file: file, hash: hash, size: size}, nil
}

func (l *rawLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l *rawLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l *rawLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.file) }
func (l *rawLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.file) }
func (l *rawLayer) Size() (int64, error)                 { return l.size, nil }
func (l *rawLayer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }

// layerWriter writes files into a tar, and each parent folder once before them.
type layerWriter struct {
	tar     *tar.Writer
	folders map[string]bool
}

// writeLayer writes a tar of the given SOURCE=TARGET words.
func writeLayer(file string, words []string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	w := &layerWriter{tar: tar.NewWriter(out), folders: map[string]bool{"/": true}}
	for _, word := range words {
		source, target, ok := strings.Cut(word, "=")
		if !ok || !strings.HasPrefix(target, "/") {
			return fmt.Errorf("%q is not SOURCE=/TARGET", word)
		}
		if err := w.addTree(source, path.Clean(target)); err != nil {
			return err
		}
	}
	return w.tar.Close()
}

// addTree adds the file source as target, or what the folder source holds below
// target. WalkDir goes in lexical order, which makes the layer reproducible.
func (w *layerWriter) addTree(source, target string) error {
	return filepath.WalkDir(source, func(at string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(source, at)
		if err != nil {
			return err
		}
		if err := w.add(at, path.Join(target, filepath.ToSlash(below))); err != nil {
			return fmt.Errorf("add %s: %w", at, err)
		}
		return nil
	})
}

func (w *layerWriter) add(source, target string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return w.addFolder(target)
	}
	if err := w.addFolder(path.Dir(target)); err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := os.Readlink(source)
		if err != nil {
			return err
		}
		return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: target[1:], Linkname: link, Mode: 0o777})
	case info.Mode().IsRegular():
		return w.addFile(source, target, info)
	default:
		return fmt.Errorf("neither file, folder nor symbolic link (%s)", info.Mode().Type())
	}
}

func (w *layerWriter) addFile(source, target string, info fs.FileInfo) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	err = w.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: target[1:], Mode: int64(info.Mode().Perm()), Size: info.Size(),
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(w.tar, f)
	return err
}

func (w *layerWriter) addFolder(target string) error {
	if w.folders[target] {
		return nil
	}
	if err := w.addFolder(path.Dir(target)); err != nil {
		return err
	}
	w.folders[target] = true
	return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: target[1:] + "/", Mode: 0o755})
}
