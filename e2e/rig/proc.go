// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"os"
	"strings"
)

// startTime returns the 22nd field of /proc/PID/stat, in clock ticks since boot.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The command in parentheses may hold anything, also parentheses.
	_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	const afterCommand = 22 - 3
	if !ok || len(fields) <= afterCommand {
		return "", fmt.Errorf("process %d: odd stat line", pid)
	}
	return fields[afterCommand], nil
}
