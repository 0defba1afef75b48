// SPDX-License-Identifier: Apache-2.0

// Package job is what the machine is told to do, and what it tells of it.
package job

import "time"

// File is where the job is in the machine. Port is the name of the device by which events leave it.
const (
	File = "/job.json"
	Port = "/dev/vport*"
)

// Job is all that one machine does between boot and power-off.
type Job struct {
	// Modules are loaded before the steps: drivers of cards, which nothing in the machine asks for.
	Modules []string
	Steps   []Step
}

// Step is one program to run.
type Step struct {
	// Name of the step in events.
	Name string
	// Args are the program and its arguments.
	Args []string
	// Dir is the working directory.
	Dir string
	// Env is added to the machine's environment.
	Env []string
	// Timeout after which the program is killed.
	Timeout time.Duration
	// Again runs a Go test binary a second time with the tests that failed: an emulated machine
	// stands still for seconds where its host is busy, and tests with deadlines fail for it.
	Again bool
}

// Event is one thing that happened in the machine. Exactly one of its parts is there.
type Event struct {
	// Booted is the kernel's release, the first event of all.
	Booted string `json:",omitempty"`
	// Step names the step that a line, an end, or a second attempt is of.
	Step string `json:",omitempty"`
	// Line is one line that the step printed.
	Line *string `json:",omitempty"`
	// Again are the tests that are run a second time.
	Again []string `json:",omitempty"`
	// End says how the step ended.
	End *End `json:",omitempty"`
	// Done is the last event of all.
	Done bool `json:",omitempty"`
}

// End of a step.
type End struct {
	// Error is empty where the step's program, or its second attempt, ended well.
	Error string
	// Took is how long the step was, by the machine's clock.
	Took time.Duration
}
