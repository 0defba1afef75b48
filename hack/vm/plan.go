// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/hack/vm/job"
)

const (
	// artifacts is the folder that logs are written to.
	artifacts = "_artifacts/vm"
	// rig is the package with whole agents.
	rig = "e2e/rig"
	// lacksVariable names the features whose tests may skip, although CI=true.
	lacksVariable = "KUBE_WLBS_KERNEL_LACKS"
	// fewCases is enough of random cases on another kernel: they are for our logic, which make test tries in a hundred.
	fewCases = "-rapid.checks=15"
	// stepLimit bounds a step, and machineLimit all of a machine.
	stepLimit, machineLimit = 20 * time.Minute, time.Hour
)

// plan says what is to run in a machine.
type plan struct {
	// packages by name, all if none is; nothing means none at all.
	packages []string
	nothing  bool
	// agents are the rig's main tests.
	agents bool
	// cards are models to run agents on, cardTests which of the tests.
	cards     []model
	cardTests string
}

// rigTests are those of the rig that show what a kernel may break: failover, stalls, modes, families, drain and ends.
func rigTests() []string {
	return []string{
		"TestHostCrash", "TestAgentCrash", "TestMuteHostIsExcluded", "TestFrozenAgentIsFenced",
		"TestLeaveAndJoinLoseNoConnection", "TestRestartKeepsConnections", "TestStoppedAgentLeavesNothing",
		"TestQ228942", "TestServiceNotAnswering", "TestModes", "TestModesOnTheWire", "TestDualStack", "TestDrainstop",
	}
}

// run works off the plan on each kernel, and prints what came of it.
func (p *plan) run(ctx context.Context, kernelNames, cards []string) error {
	chosen, err := chooseKernels(kernelNames)
	if err != nil {
		return err
	}
	if p.cards, err = chooseModels(cards); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "kube-wlbs-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	builders := map[string]*builder{}
	var all []*result
	var errs []error
	for _, k := range chosen {
		if builders[k.Arch] == nil {
			builders[k.Arch] = newBuilder(k.Arch, work)
		}
		results, err := p.runOn(ctx, k, builders[k.Arch], work)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", k.Name, err))
		}
		all = append(all, results...)
		if ctx.Err() != nil {
			break
		}
	}
	for _, r := range all {
		if !r.ok() {
			errs = append(errs, errors.New(r.String()), r.explain(os.Stdout))
		}
	}
	summary(os.Stdout, all)
	return errors.Join(errs...)
}

// runOn works off the plan on one kernel.
func (p *plan) runOn(ctx context.Context, k Kernel, b *builder, work string) ([]*result, error) {
	u, err := k.fetch(ctx)
	if err != nil {
		return nil, err
	}
	r := &root{kernel: u, arch: k.Arch, files: map[string]string{}}
	if r.guest, err = b.program(ctx, module+"/hack/vm/guest"); err != nil {
		return nil, err
	}
	if err := p.addSteps(ctx, k, b, r); err != nil {
		return nil, err
	}
	archive := filepath.Join(work, "root.cpio")
	if err := r.write(ctx, archive); err != nil {
		return nil, err
	}
	folder := filepath.Join(artifacts, k.Name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	step("%s: booting %s", k.Name, u.Release)
	m := Machine{
		Kernel: u, Arch: k.Arch, Root: archive, Cards: cardsOf(p.cards), Limit: machineLimit,
		Console: filepath.Join(folder, "console.log"),
	}
	results := newBook(k.Name, folder)
	err = errors.Join(m.run(ctx, results.handle), results.close())
	return results.results, err
}

// addSteps compiles what is to run, and makes it steps of the machine's job.
func (p *plan) addSteps(ctx context.Context, k Kernel, b *builder, r *root) error {
	if !p.nothing {
		if err := p.addPackages(ctx, k, b, r); err != nil {
			return err
		}
	}
	// Agents need network tools, which there are of this machine's architecture only.
	if k.Arch != hostArch || (!p.agents && len(p.cards) == 0) {
		return nil
	}
	binary, err := b.test(ctx, module+"/"+rig)
	if err != nil {
		return err
	}
	if r.files["/t/bin/wlbs-agent"], err = b.program(ctx, module+"/cmd/wlbs-agent"); err != nil {
		return err
	}
	if p.agents {
		if err := checkNames(ctx, binary, rigTests()); err != nil {
			return err
		}
		r.addTests(k, rig, binary, "-test.run=^("+strings.Join(rigTests(), "|")+")$")
	}
	if len(p.cards) > 0 {
		if err := checkNames(ctx, binary, []string{cardTest}); err != nil {
			return err
		}
		r.addTests(k, "cards", binary, "-test.run="+cardRun(p.cardTests))
		last := &r.job.Steps[len(r.job.Steps)-1]
		last.Env = append(last.Env, cardsEnv(p.cards))
		last.Timeout = machineLimit
		last.Again = false // it repeats by itself what may fail once, and a second run would be all of it
		r.job.Modules = append(r.job.Modules, drivers(p.cards)...)
	}
	return nil
}

func (p *plan) addPackages(ctx context.Context, k Kernel, b *builder, r *root) error {
	all, err := kernelTests(ctx)
	if err != nil {
		return err
	}
	names := p.packages
	if k.Arch != hostArch {
		names = []string{"filter"}
	}
	chosen, err := choose(all, names)
	if err != nil {
		return err
	}
	for _, t := range chosen {
		binary, err := b.test(ctx, t.pkg)
		if err != nil {
			return err
		}
		name := stepName(t.pkg)
		var flags []string
		if t.random {
			flags = append(flags, fewCases)
		}
		r.addTests(k, name, binary, flags...)
		if data := filepath.Join(t.dir, "testdata"); exists(data) {
			r.files[r.dir(name)+"/testdata"] = data
		}
	}
	return nil
}

// dir is where a step's tests are in the machine.
func (r *root) dir(name string) string { return "/t/" + name }

// addTests adds a test binary, and its run to the job.
func (r *root) addTests(k Kernel, name, binary string, flags ...string) {
	dir := r.dir(name)
	r.files[dir+"/test"] = binary
	r.job.Steps = append(r.job.Steps, job.Step{
		Name: name, Dir: dir, Again: true, Timeout: stepLimit,
		Args: append([]string{dir + "/test", "-test.v", "-test.timeout=" + (stepLimit - time.Minute).String()}, flags...),
		Env:  []string{"KUBE_WLBS_BIN=/t/bin", lacksVariable + "=" + strings.Join(k.Lacks, ",")},
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
