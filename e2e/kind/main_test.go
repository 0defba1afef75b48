// SPDX-License-Identifier: Apache-2.0

// Package kind tests the operator on a kind cluster whose nodes and links are made
// to fail. `make test-e2e` builds the cluster, puts the operator on it, and runs
// the compiled tests where the cluster is (see hack/lab). Tests that only use nodes run beside each other, after those that
// make nodes, links or the operator fail, or compare nodes before and after.
package kind

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// cluster is the test cluster that all tests of this package share.
var cluster *lab.Lab

func TestMain(m *testing.M) {
	var err error
	cluster, err = lab.Open()
	switch {
	case errors.Is(err, lab.ErrNoCluster) && os.Getenv("CI") != "true":
		fmt.Fprintln(os.Stderr, "skipped:", err)
		os.Exit(0)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := cluster.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctrllog.SetLogger(logr.Discard()) // the client's; errors are returned as well
	os.Exit(run(m))
}

// run is the tests with what has to be as it was when they are over.
func run(m *testing.M) int {
	if err := removeLeftovers(); err != nil {
		fmt.Fprintln(os.Stderr, "leftovers of earlier tests:", err)
		return 1
	}
	before, err := findBystanders()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clusters before the tests:", err)
		return 1
	}
	code := m.Run()
	if err := errors.Join(removeWorkloads(), awaitBystanders(before)); err != nil {
		fmt.Fprintln(os.Stderr, "clean-up:", err)
		code = 1
	}
	return code
}
