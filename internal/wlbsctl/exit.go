// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"errors"
	"fmt"
)

// Exit codes. They are part of the interface: docs/kubectl-plugin.md lists them.
const (
	// ExitOK: done, or for query: all hosts that were asked are as they should be.
	ExitOK = 0
	// ExitError: an error without a code of its own, for instance of the API server.
	ExitError = 1
	// ExitUsage: the command line is wrong, or its target is ambiguous.
	ExitUsage = 2
	// ExitNotFound: there is no such cluster, node or host.
	ExitNotFound = 3
	// ExitRefused: a host is suspended and refuses control commands until it is resumed.
	ExitRefused = 4
	// ExitNoRule: no port rule contains the port (WLBS event 25).
	ExitNoRule = 5
	// ExitHostStopped: a port rule was to be changed on a stopped host (WLBS event 26).
	ExitHostStopped = 6
	// ExitTimeout: --wait ran out of time; the command itself was accepted.
	ExitTimeout = 7
	// ExitNotConverged: query found a host that should be a member and is not converged.
	ExitNotConverged = 8
	// ExitStalled: query found all hosts as they should be, but one carries no traffic (Microsoft KB Q228942).
	ExitStalled = 9
)

// exitError is an error with an exit code of its own. A nil err only carries the code: everything was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func failf(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// codeOf returns the exit code for an error.
func codeOf(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, context.Canceled):
		return ExitError
	}
	return ExitError
}

// combine makes one error of several: all that is to be said, and the exit code of the first.
func combine(failures []error) error {
	if len(failures) == 0 {
		return nil
	}
	var said []error
	for _, err := range failures {
		var exit *exitError
		if errors.As(err, &exit) && exit.err == nil {
			continue
		}
		said = append(said, err)
	}
	return &exitError{code: codeOf(failures[0]), err: errors.Join(said...)}
}

// silent reports whether an error only carries an exit code.
func silent(err error) bool {
	var exit *exitError
	return errors.As(err, &exit) && exit.err == nil
}
