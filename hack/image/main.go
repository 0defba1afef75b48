// SPDX-License-Identifier: Apache-2.0

// Command image packs files into a container image, with neither a container
// engine nor a registry. The archive is one that `docker load`, `podman load`,
// `ctr images import` and `kind load image-archive` all take.
//
//	image -o agent.tar -t kube-wlbs.dev/agent:dev -entrypoint /wlbs-agent bin/wlbs-agent=/wlbs-agent
//	image -o os.tar -t example.test/os:v1 -entrypoint "/entrypoint /sbin/init" -layer rootfs.tar
//
// A SOURCE=TARGET may name a file, or a folder whose whole content is put below
// TARGET. The image starts from nothing, owners and times are zeroed: the same
// input gives the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/google/go-containerregistry/pkg/name"
)

// options describes one image.
type options struct {
	output     string
	tag        string
	entrypoint string
	user       string
	stopSignal string
	layer      string
	env        list
	labels     list
	files      []string
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	var o options
	flag.StringVar(&o.output, "o", "", "archive to write")
	flag.StringVar(&o.tag, "t", "", "image reference with registry and tag")
	flag.StringVar(&o.entrypoint, "entrypoint", "", "program and arguments, separated by spaces")
	flag.StringVar(&o.user, "user", "", "user (and group, UID:GID) to run as; default is root")
	flag.StringVar(&o.stopSignal, "stop-signal", "", "signal that asks the program to end")
	flag.StringVar(&o.layer, "layer", "", "tar to take as the image's only layer, instead of files")
	flag.Var(&o.env, "env", "environment variable, NAME=VALUE; may be given several times")
	flag.Var(&o.labels, "label", "label, NAME=VALUE; may be given several times")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: image -o ARCHIVE -t REFERENCE [FLAG...] SOURCE=TARGET...")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.files = flag.Args()
	if err := o.write(); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// write builds the image and stores it as an archive.
func (o options) write() error {
	if o.output == "" || (o.layer == "") == (len(o.files) == 0) {
		return errors.New("an output, and either a layer or files, are needed (-h for help)")
	}
	tag, err := name.NewTag(o.tag, name.StrictValidation)
	if err != nil {
		return err
	}
	layerFile := o.layer
	if layerFile == "" {
		layerFile = o.output + ".layer"
		defer os.Remove(layerFile)
		if err := writeLayer(layerFile, o.files); err != nil {
			return err
		}
	}
	image, err := o.assemble(layerFile)
	if err != nil {
		return err
	}
	if err := tarball.WriteToFile(o.output, tag, image); err != nil {
		return fmt.Errorf("write %s: %w", o.output, err)
	}
	return nil
}

// assemble puts the image together from one layer and the configuration.
func (o options) assemble(layerFile string) (v1.Image, error) {
	labels, err := pairs(o.labels)
	if err != nil {
		return nil, err
	}
	layer, err := newRawLayer(layerFile)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config = v1.Config{
		Entrypoint: strings.Fields(o.entrypoint),
		Env:        append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, o.env...),
		User:       o.user,
		WorkingDir: "/",
		StopSignal: o.stopSignal,
		Labels:     labels,
	}
	return mutate.ConfigFile(image, config)
}

// pairs turns NAME=VALUE words into a map.
func pairs(words []string) (map[string]string, error) {
	m := make(map[string]string, len(words))
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is not NAME=VALUE", w)
		}
		m[key] = value
	}
	return m, nil
}
