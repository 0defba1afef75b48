// SPDX-License-Identifier: Apache-2.0

// Command vm runs tests on kernels that this machine does not have, and on emulated network cards,
// in machines that qemu emulates. Run it at the root of the repository.
//
//	vm kernels                       which kernels there are; fetches them
//	vm test --kernel 6.1             all tests that talk to the kernel, and whole agents
//	vm drivers --cards e1000e        three agents and a client on emulated cards
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "vm",
		Short:         "Run tests on other kernels and emulated network cards",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(kernelsCommand(), testCommand(), driversCommand())
	return root
}

func kernelsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "kernels [NAME...]",
		Short: "Fetch kernels and say where they are; all of them by default",
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := chooseKernels(args)
			if err != nil {
				return err
			}
			for _, k := range chosen {
				u, err := k.fetch(cmd.Context())
				if err != nil {
					return err
				}
				fmt.Printf("%-12s %-7s %-28s %s\n", k.Name, k.Arch, u.Release, u.Folder)
			}
			return nil
		},
	}
}

func testCommand() *cobra.Command {
	var kernelNames []string
	var cards []string
	var p plan
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the tests that talk to the kernel, and whole agents, on other kernels",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.run(cmd.Context(), kernelNames, cards)
		},
	}
	cmd.Flags().StringSliceVar(&kernelNames, "kernel", nil, "kernels by name (default all)")
	cmd.Flags().StringSliceVar(&p.packages, "package", nil, "packages by path below dataplane (default all)")
	cmd.Flags().BoolVar(&p.agents, "agents", true, "whole agents in network namespaces, too")
	cmd.Flags().StringSliceVar(&cards, "cards", nil, "models of cards to run agents on, too")
	cmd.Flags().StringVar(&p.cardTests, "run", "", "which tests of cards to run, as go test takes it")
	return cmd
}

func driversCommand() *cobra.Command {
	var kernelNames []string
	var cards []string
	p := plan{nothing: true}
	cmd := &cobra.Command{
		Use:   "drivers",
		Short: "Run three agents and a client on emulated cards",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.run(cmd.Context(), kernelNames, cards)
		},
	}
	cmd.Flags().StringSliceVar(&kernelNames, "kernel", []string{"6.12"}, "kernels by name")
	cmd.Flags().StringSliceVar(&cards, "cards", modelNames(), "models of cards")
	cmd.Flags().StringVar(&p.cardTests, "run", "", "which of the tests to run, as go test takes it")
	return cmd
}

// chooseKernels by name; all if none is named.
func chooseKernels(names []string) ([]Kernel, error) {
	if len(names) == 0 {
		return kernels(), nil
	}
	var chosen []Kernel
	for _, n := range names {
		k, err := kernelNamed(n)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, k)
	}
	return chosen, nil
}
